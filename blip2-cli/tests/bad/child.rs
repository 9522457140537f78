//! The program within limits that the system keeps.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The most kilobytes of memory of its own that the program may hold: 200 MB. Beyond, an allocation
/// fails, which ends it by a signal.
const KILOBYTES: u32 = 200 << 10;
/// The most seconds that it may compute, on all threads together, before a signal ends it.
const SECONDS: u32 = 2;
/// How long it is waited for, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the program ended.
pub(crate) struct Ended {
    /// Its exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    /// Both its streams.
    pub(crate) said: String,
}

/// Runs the program in a folder.
pub(crate) fn run(folder: &Path, arguments: &[String]) -> Ended {
    // Files, not pipes: a pipe that nobody reads fills up, and the program waits.
    let streams = tempfile::tempdir().unwrap();
    let paths = ["out", "err"].map(|name| streams.path().join(name));
    let [out, err] = paths.each_ref().map(|path| File::create(path).unwrap());
    let limited = format!("ulimit -d {KILOBYTES}; ulimit -t {SECONDS}; exec \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, "sh", env!("CARGO_BIN_EXE_blip2")])
        .args(arguments)
        .current_dir(folder)
        .env_remove("BLIP2_MODEL")
        .env_remove("BLIP2_RETRIEVAL_MODEL")
        // A thread's stack counts as memory, and a machine may have hundreds of cores.
        .env("RAYON_NUM_THREADS", "2")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    };
    let said = paths.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
    Ended {
        code: status.code(),
        said: said.concat(),
    }
}
