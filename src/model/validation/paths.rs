//! Owns the rules of file paths in manifests and of file modes.
//! Never looks at a file system.
//!
//! Parity: core's `validateLocalDescendingPath`, `ValidateLocalNonReservedPath`, `validatePathNoBacksteps`.

use crate::model::field::{Errors, Path};

/// The highest file mode: the permission bits alone.
const MODE_MAX: i32 = 0o777;

/// No `..` among the parts.
pub fn no_backsteps(errors: &mut Errors, file: &str, path: &Path<'_>) {
    if has_backsteps(file) {
        errors.invalid(path, &file, "must not contain '..'");
    }
}

/// Whether `..` is among the parts.
pub fn has_backsteps(file: &str) -> bool {
    file.split('/').any(|part| part == "..")
}

/// Relative, and no `..` among the parts.
pub fn relative(errors: &mut Errors, file: &str, path: &Path<'_>) {
    if file.starts_with('/') {
        errors.invalid(path, &file, "must be a relative path");
    }
    no_backsteps(errors, file, path);
}

/// [`relative`], and no name that begins with two dots: volumes keep their own files under such names.
pub fn relative_not_reserved(errors: &mut Errors, file: &str, path: &Path<'_>) {
    relative(errors, file, path);
    // A part that is `..` was reported above.
    if file.starts_with("..") && !file.starts_with("../") {
        errors.invalid(path, &file, "must not start with '..'");
    }
}

/// A file's mode.
pub fn mode(errors: &mut Errors, mode: Option<i32>, path: &Path<'_>) {
    if let Some(mode) = mode.filter(|mode| !(0..=MODE_MAX).contains(mode)) {
        errors.invalid(path, &mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}
