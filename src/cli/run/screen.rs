//! Owns what a run writes to standard output and standard error, in one thread so that nothing interleaves.
//! Never decides what to show beyond where it goes: texts come from `line`, `text` and `report`.
//!
//! | | standard output | standard error |
//! |---|---|---|
//! | default | pod output | progress lines (on a terminal), notes, summary |
//! | `--output json` | the report | pod output, notes |
//!
//! A reader that goes away (`jobdock run … | head -1`) ends the output, not the Jobs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use super::line::{self, Prefixes};
use super::state::JobLine;
use super::text;

/// Messages that wait for the terminal: beyond these, readers of pod output wait, and so do their streams.
const WAITING: usize = 256;
/// Lines of output written in one go, between two drawings of the progress lines.
const BATCH: usize = 128;
/// Progress lines at a time: more would push the output off a small terminal.
const MAX_LINES: usize = 8;
/// Lines about pulls at a time: the node pulls no more images at once.
const MAX_PULLS: usize = 4;
/// Redraws a second.
const REDRAWS: u8 = 10;
/// How long the last words may take to reach a reader that does not read.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How the run is to be shown.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent switches, each from its own flag or terminal")]
pub struct Look {
    /// Pod output goes to standard error, because standard output carries the report.
    pub output_to_stderr: bool,
    /// Colours in pod output.
    pub colour_output: bool,
    /// Colours in notes, progress lines and the summary.
    pub colour_notes: bool,
    /// Progress lines.
    pub progress: bool,
}

impl Look {
    /// What fits the terminals at hand and `NO_COLOR`.
    pub fn of(json: bool, no_progress: bool) -> Self {
        let coloured = |choice: anstream::ColorChoice| choice != anstream::ColorChoice::Never;
        let stdout = coloured(anstream::AutoStream::choice(&io::stdout()));
        let stderr = coloured(anstream::AutoStream::choice(&io::stderr()));
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            output_to_stderr: json,
            colour_output: if json { stderr } else { stdout },
            colour_notes: stderr,
            progress: !no_progress && !dumb && io::stderr().is_terminal(),
        }
    }
}

/// One line of a container's output.
#[derive(Debug)]
pub struct Output {
    /// The pod's name.
    pub pod: Arc<str>,
    /// The container's name, where the pod has several.
    pub container: Option<Arc<str>>,
    /// The line, without its end.
    pub text: Vec<u8>,
}

enum Show {
    Output(Output),
    Note(String),
    Progress { jobs: Vec<JobLine>, pulls: Vec<String> },
    End,
}

/// The handle to the writing thread; clones share it.
#[derive(Clone)]
pub struct Screen(mpsc::Sender<Show>);

/// Ends the writing thread.
pub struct Curtain {
    screen: Screen,
    thread: JoinHandle<Option<io::Error>>,
}

impl Screen {
    /// Starts the writing thread.
    pub fn start(look: Look) -> io::Result<(Self, Curtain)> {
        let (to, from) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name("screen".to_owned()).spawn(move || draw(look, from))?;
        let screen = Self(to);
        Ok((screen.clone(), Curtain { screen, thread }))
    }

    /// Shows a line of pod output; waits where the terminal is slower than the pods.
    pub async fn output(&self, line: Output) {
        self.show(Show::Output(line)).await;
    }

    /// Shows text of jobdock's own, one or more lines.
    pub async fn note(&self, text: impl Into<String>) {
        self.show(Show::Note(text.into())).await;
    }

    /// Redraws the progress lines of Jobs and of pulls; dropped where the terminal is busy.
    pub fn progress(&self, jobs: Vec<JobLine>, pulls: &BTreeMap<&str, &str>) {
        let mut pulls: Vec<String> = pulls.iter().map(|(image, told)| line::pull(image, told)).collect();
        pulls.truncate(MAX_PULLS);
        // A full channel means that newer lines will follow soon enough.
        let _dropped = self.0.try_send(Show::Progress { jobs, pulls });
    }

    async fn show(&self, what: Show) {
        // The thread ends only after `End`, which the curtain sends last; what comes later has no reader.
        let _ended = self.0.send(what).await;
    }
}

impl Curtain {
    /// Waits until everything shown so far is written, and takes the progress lines away. Returns why output was lost,
    /// where it was; a reader that went away wanted no more.
    pub async fn fall(self) -> Option<io::Error> {
        self.screen.show(Show::End).await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join());
        // A reader that stalls may keep the last words from being written; the run ends all the same.
        tokio::time::timeout(LAST_WORDS, joined).await.ok()?.ok()?.ok()?
    }
}

fn draw(look: Look, mut from: mpsc::Receiver<Show>) -> Option<io::Error> {
    let mut stage = Stage::new(look);
    while let Some(first) = from.blocking_recv() {
        let mut batch = Batch::default();
        let mut next = Some(first);
        let mut ended = false;
        while let Some(show) = next {
            match show {
                Show::Output(output) => stage.add(&output, &mut batch),
                Show::Note(note) => batch.note(look, &note),
                Show::Progress { jobs, pulls } => stage.lines = Some((jobs, pulls)),
                Show::End => ended = true,
            }
            next = if ended || batch.lines >= BATCH { None } else { from.try_recv().ok() };
        }
        stage.write(&batch);
        stage.redraw();
        if ended {
            break;
        }
    }
    stage.clear();
    stage.lost
}

/// Text that is about to be written, in its order on each stream.
#[derive(Default)]
struct Batch {
    out: String,
    err: String,
    lines: usize,
}

impl Batch {
    fn note(&mut self, look: Look, note: &str) {
        for line in note.lines() {
            self.err.push_str(&text::safe(line.as_bytes(), look.colour_notes));
            self.err.push('\n');
            self.lines += 1;
        }
    }
}

struct Stage {
    look: Look,
    multi: MultiProgress,
    bars: Vec<ProgressBar>,
    prefixes: Prefixes,
    lines: Option<(Vec<JobLine>, Vec<String>)>,
    out_closed: bool,
    err_closed: bool,
    lost: Option<io::Error>,
}

impl Stage {
    fn new(look: Look) -> Self {
        let target =
            if look.progress { ProgressDrawTarget::stderr_with_hz(REDRAWS) } else { ProgressDrawTarget::hidden() };
        Self {
            look,
            multi: MultiProgress::with_draw_target(target),
            bars: Vec::new(),
            prefixes: Prefixes::default(),
            lines: None,
            out_closed: false,
            err_closed: false,
            lost: None,
        }
    }

    fn add(&mut self, output: &Output, batch: &mut Batch) {
        let colours = self.look.colour_output;
        let to = if self.look.output_to_stderr { &mut batch.err } else { &mut batch.out };
        to.push_str(&self.prefixes.prefix(&output.pod, output.container.as_deref(), colours));
        to.push_str(&text::safe(&output.text, colours));
        to.push('\n');
        batch.lines += 1;
    }

    fn write(&mut self, batch: &Batch) {
        let (out_closed, err_closed) = (&mut self.out_closed, &mut self.err_closed);
        if batch.lines > 0 {
            let failed = self.multi.suspend(|| {
                let out = write_all(io::stdout().lock(), &batch.out, out_closed);
                out.or(write_all(io::stderr().lock(), &batch.err, err_closed))
            });
            self.lost = self.lost.take().or(failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe));
        }
    }

    fn redraw(&mut self) {
        let Some((jobs, pulls)) = self.lines.take().filter(|_| self.look.progress) else { return };
        let columns = console::Term::stderr().size().1.into();
        let mut texts = progress_texts(&jobs, columns, self.look.colour_notes);
        texts.extend(pulls);
        let style = ProgressStyle::with_template("{wide_msg}").expect("the template is well-formed");
        while self.bars.len() < texts.len() {
            let bar = ProgressBar::new_spinner().with_style(style.clone());
            self.bars.push(self.multi.add(bar));
        }
        while self.bars.len() > texts.len() {
            if let Some(bar) = self.bars.pop() {
                self.multi.remove(&bar);
            }
        }
        for (bar, text) in self.bars.iter().zip(texts) {
            bar.set_message(text);
        }
    }

    fn clear(&mut self) {
        // What stays on a terminal that does not answer is not worth an error.
        let _stays = self.multi.clear();
    }
}

/// The lines to draw: unfinished Jobs first where not all fit.
fn progress_texts(lines: &[JobLine], columns: usize, colours: bool) -> Vec<String> {
    let mut shown: Vec<&JobLine> = lines.iter().collect();
    if shown.len() > MAX_LINES {
        shown.sort_by_key(|line| line.verdict.is_some());
        shown.truncate(MAX_LINES - 1);
    }
    let width = shown.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let mut texts: Vec<String> = shown.iter().map(|line| line::progress(line, width, columns, colours)).collect();
    if lines.len() > shown.len() {
        let finished = lines.iter().filter(|line| line.verdict.is_some()).count();
        texts.push(format!("… {} Jobs in all, {finished} finished", lines.len()));
    }
    texts
}

/// Writes a text, unless an earlier one could not be written.
fn write_all(mut to: impl Write, text: &str, closed: &mut bool) -> Option<io::Error> {
    if *closed || text.is_empty() {
        return None;
    }
    let failed = to.write_all(text.as_bytes()).and_then(|()| to.flush()).err();
    *closed = failed.is_some();
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run::report::Verdict;

    #[test]
    fn of_many_jobs_the_unfinished_are_shown_and_the_rest_counted() {
        let job = |n: usize| JobLine {
            name: format!("job-{n:02}"),
            verdict: (n < 15).then_some(Verdict::Complete),
            ..JobLine::default()
        };
        let texts = progress_texts(&(0..20).map(job).collect::<Vec<_>>(), 80, false);
        assert_eq!(texts.len(), MAX_LINES);
        assert!(texts[0].starts_with("job-15"), "{texts:?}");
        assert_eq!(texts[MAX_LINES - 1], "… 20 Jobs in all, 15 finished");
    }

    #[test]
    fn few_jobs_stay_in_their_order() {
        let job = |n: usize| JobLine {
            name: format!("job-{n}"),
            verdict: (n == 0).then_some(Verdict::Complete),
            ..JobLine::default()
        };
        let texts = progress_texts(&(0..3).map(job).collect::<Vec<_>>(), 80, false);
        assert!(texts[0].starts_with("job-0") && texts[2].starts_with("job-2"), "{texts:?}");
    }
}
