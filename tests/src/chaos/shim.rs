//! A clock that is off, for one process alone.
//!
//! A time namespace moves only the monotonic clocks, and the service has no switch for it: a small C library, compiled
//! when it is needed and loaded before all others, adds seconds to what the wall clock says.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE: &str = include_str!("../../data/clock_shim.c");

/// Compiles the library into `folder`; says why where this machine cannot.
pub(super) fn clock(folder: &Path) -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("a clock can be shifted for one process on Linux alone".to_owned());
    }
    let (source, library) = (folder.join("clock_shim.c"), folder.join("clock_shim.so"));
    std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).output();
    match compiled {
        Ok(output) if output.status.success() => Ok(library),
        Ok(output) => Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr))),
        Err(_) => Err("there is no C compiler `cc` to make a shifted clock with".to_owned()),
    }
}
