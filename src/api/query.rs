//! Owns the query parameters of a request: names, types, and the errors for values that do not fit. PURE.
//! Never decides what they mean: each verb does.
//!
//! Parity: `ListOptions`, `CreateOptions`, `DeleteOptions`, `PodLogOptions` of upstream, and how it reads them from URLs.

use super::error::Problem;
use super::route;
use crate::model::apply;
use crate::model::decode::FieldValidation;
use crate::model::field::{ErrorType, Errors, FieldError, Path};
use crate::model::validation::metadata;

/// The parameters as they stand in the URL, in order, percent-decoded.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the part of a URL after `?`. Anything can be read; what is malformed stands as it is.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (plain(name), plain(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A value that is there and not empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// Parity: `?watch` and `?watch=anything` are true, `0` and `false` are false.
    pub fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// [`Params::flag`], telling "not given" from "false".
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| !(text == "0" || text.eq_ignore_ascii_case("false")))
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.filled(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Problem::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))
    }
}

fn plain(text: &str) -> String {
    let text = text.replace('+', " ");
    route::decode(&text).unwrap_or(text)
}

/// Whether these values of `dryRun` ask for a dry run. Only `All` is known.
pub fn dry_run<'a>(values: impl Iterator<Item = &'a str>, options: &str) -> Result<bool, Problem> {
    let mut errors = Errors::new();
    let dry = read_dry_run(values, &mut errors);
    valid(errors, options).map(|()| dry)
}

fn read_dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Errors) -> bool {
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    for value in values.iter().filter(|value| **value != "All") {
        let message = format!("Unsupported value: [\"{value}\"]: supported values: \"All\"");
        errors.push(FieldError { kind: ErrorType::NotSupported, field: "dryRun".to_owned(), message });
    }
    !values.is_empty()
}

fn read_field_validation(params: &Params, errors: &mut Errors) -> FieldValidation {
    match params.filled("fieldValidation") {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            errors.not_supported(&Path::new("fieldValidation"), &other, &["", "Ignore", "Strict", "Warn"]);
            FieldValidation::Warn
        }
    }
}

/// The options of a create, an update or a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Nothing is to be written.
    pub dry_run: bool,
    /// What becomes of unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Who writes, by the parameter or else by the `User-Agent`.
    pub manager: String,
    /// An apply wins its conflicts.
    pub force: bool,
}

/// Which options are read: they differ in what they allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteForm {
    /// `CreateOptions`
    Create,
    /// `UpdateOptions`
    Update,
    /// `PatchOptions`
    Patch,
    /// `PatchOptions` of a server-side apply
    Apply,
}

/// Reads and checks the options of a write; the error names everything that is wrong with them.
pub fn write_options(params: &Params, agent: &str, form: WriteForm) -> Result<WriteOptions, Problem> {
    let mut errors = Errors::new();
    let manager = params.text("fieldManager").unwrap_or_default();
    let force = params.optional_flag("force");
    let options = match form {
        WriteForm::Create => "CreateOptions",
        WriteForm::Update => "UpdateOptions",
        WriteForm::Patch | WriteForm::Apply => "PatchOptions",
    };
    if form == WriteForm::Patch && force.is_some() {
        errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
    }
    if form == WriteForm::Apply && manager.is_empty() {
        errors.required(&Path::new("fieldManager"), "is required for apply patch");
    }
    metadata::field_manager(&mut errors, manager, &Path::new("fieldManager"));
    let dry_run = read_dry_run(params.all("dryRun"), &mut errors);
    let field_validation = read_field_validation(params, &mut errors);
    valid(errors, options)?;
    let manager = if manager.is_empty() { apply::manager_name(agent) } else { manager.to_owned() };
    Ok(WriteOptions { dry_run, field_validation, manager, force: force.unwrap_or(false) })
}

fn valid(errors: Errors, options: &str) -> Result<(), Problem> {
    let errors = errors.into_vec();
    match errors.as_slice() {
        [] => Ok(()),
        errors => Err(Problem::invalid_of("meta.k8s.io", options, "", errors)),
    }
}

/// How `resourceVersion` is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// At that revision.
    Exact,
    /// At that revision or a later one.
    NotOlderThan,
}

/// The options of a list or a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// None where absent or empty: the newest state. `Some(0)`: any state.
    pub revision: Option<u64>,
    /// `resourceVersionMatch`.
    pub matching: Option<Match>,
    /// Most objects of one answer; none for all.
    pub limit: Option<usize>,
    /// The token of the page before.
    pub token: Option<String>,
    /// A watch rather than a list.
    pub watch: bool,
    /// A watch gets bookmarks.
    pub bookmarks: bool,
    /// A watch begins with the current state, then a bookmark.
    pub initial: Option<bool>,
    /// A watch ends after so many seconds.
    pub timeout_seconds: Option<u64>,
}

/// Reads and checks the options of a list or a watch.
pub fn list_options(params: &Params, watch: bool) -> Result<ListOptions, Problem> {
    let matching = match params.filled("resourceVersionMatch") {
        None => None,
        Some("Exact") => Some(Match::Exact),
        Some("NotOlderThan") => Some(Match::NotOlderThan),
        Some(other) => {
            let message =
                format!("Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\", \"\"");
            return Err(refused(ErrorType::NotSupported, "resourceVersionMatch", message));
        }
    };
    let limit = params.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let timeout = params.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
    let options = ListOptions {
        revision: revision(params)?,
        matching,
        limit,
        token: params.filled("continue").map(str::to_owned),
        watch,
        bookmarks: params.flag("allowWatchBookmarks"),
        initial: params.optional_flag("sendInitialEvents"),
        timeout_seconds: timeout.filter(|seconds| *seconds > 0),
    };
    check(&options)?;
    Ok(options)
}

/// `resourceVersion`.
pub fn revision(params: &Params) -> Result<Option<u64>, Problem> {
    let Some(text) = params.filled("resourceVersion") else { return Ok(None) };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| {
        let why = format!("Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax");
        refused(ErrorType::Invalid, "resourceVersion", why)
    })
}

/// Parity: `ValidateListOptions`, in its order; the error has all that is wrong.
fn check(options: &ListOptions) -> Result<(), Problem> {
    let mut errors = Errors::new();
    if options.watch {
        check_watch(&mut errors, options)
    } else {
        check_list(&mut errors, options)
    }
    valid(errors, "ListOptions")
}

const WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";

fn check_watch(errors: &mut Errors, options: &ListOptions) {
    let path = Path::new("resourceVersionMatch");
    if options.initial.is_some() && options.matching != Some(Match::NotOlderThan) {
        errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    let Some(matching) = options.matching else { return };
    if options.initial.is_none() {
        errors.forbidden(&path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    }
    if matching == Match::Exact {
        errors.not_supported(&path, &"Exact", &["NotOlderThan"]);
    }
    if options.token.is_some() {
        errors.forbidden(&path, WITH_CONTINUE);
    }
}

fn check_list(errors: &mut Errors, options: &ListOptions) {
    let path = Path::new("resourceVersionMatch");
    if let Some(matching) = options.matching {
        if options.revision.is_none() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if options.token.is_some() {
            errors.forbidden(&path, WITH_CONTINUE);
        }
        if matching == Match::Exact && options.revision == Some(0) {
            errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if options.initial.is_some() {
        errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
}

fn refused(kind: ErrorType, field: &str, message: String) -> Problem {
    let error = FieldError { kind, field: field.to_owned(), message };
    Problem::invalid_of("meta.k8s.io", "ListOptions", "", &[error])
}
