//! The memory of this machine and of this process, on Linux; elsewhere nothing is known.

use std::{
    fs,
    path::{Path, PathBuf},
};

mod program;

/// The bytes that this process may take beside those that it holds: what the machine has left, and
/// the control groups that the process runs in. `None` where that is not known.
pub fn available() -> Option<u64> {
    available_in(Path::new("/"))
}

/// The bytes that this process holds in memory (`VmRSS`), pages of mapped files included.
pub fn resident() -> Option<u64> {
    status(Path::new("/"), "VmRSS")
}

/// The most bytes that this process ever held in memory (`VmHWM`), pages of mapped files included.
pub fn peak_resident() -> Option<u64> {
    status(Path::new("/"), "VmHWM")
}

/// The most bytes that this process ever held, without the pages of the program itself and of its libraries: those
/// are read from their files as code runs, as many as the system likes, and given back when memory is short. Counted
/// now, so that code which ran after the peak alone makes it less than it was.
pub fn peak_held() -> Option<u64> {
    let program = program::pages(&fs::read_to_string("/proc/self/smaps").ok()?);
    Some(peak_resident()?.saturating_sub(program))
}

fn available_in(root: &Path) -> Option<u64> {
    let free = kilobytes(
        &fs::read_to_string(root.join("proc/meminfo")).ok()?,
        "MemAvailable",
    )?;
    let left = groups(root).iter().filter_map(|group| room(group)).min();
    Some(free.min(left.unwrap_or(u64::MAX)))
}

fn status(root: &Path, key: &str) -> Option<u64> {
    kilobytes(
        &fs::read_to_string(root.join("proc/self/status")).ok()?,
        key,
    )
}

/// The bytes of a line such as `VmRSS:   1234 kB`.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}

/// The folders of the control groups that may limit this process's memory: its own and all above.
fn groups(root: &Path) -> Vec<PathBuf> {
    let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        // Version 2 has one tree for everything, version 1 one for each controller.
        let tree = if controllers.is_empty() {
            root.join("sys/fs/cgroup")
        } else if controllers.split(',').any(|name| name == "memory") {
            root.join("sys/fs/cgroup/memory")
        } else {
            continue;
        };
        let own = tree.join(path.trim_start_matches('/'));
        let above = own
            .ancestors()
            .take_while(|folder| folder.starts_with(&tree));
        groups.extend(above.map(Path::to_path_buf));
    }
    groups
}

/// What a control group has left: its limit less what is in use and cannot be given back.
fn room(group: &Path) -> Option<u64> {
    let number = |file: &str| -> Option<u64> {
        let text = fs::read_to_string(group.join(file)).ok()?;
        text.trim().parse().ok() // `max` means no limit
    };
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    // Files that were read and are kept in case they are read again.
    let idle = stat
        .lines()
        .find_map(|line| {
            line.strip_prefix("total_inactive_file ")
                .or(line.strip_prefix("inactive_file "))
        })
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n",
    );
    const STATUS: (&str, &str) = (
        "proc/self/status",
        "Name:\tblip2\nVmHWM:\t 200 kB\nVmRSS:\t 100 kB\n",
    );

    #[test]
    fn the_machine_alone_says_what_is_left() {
        let root = root(&[MEMINFO, STATUS]);
        assert_eq!(available_in(root.path()), Some(8000 << 10));
        assert_eq!(status(root.path(), "VmHWM"), Some(200 << 10));
        assert_eq!(available_in(&root.path().join("proc")), None);
    }

    #[test]
    fn the_narrowest_control_group_counts() {
        for (own, tree) in [
            (
                "1:cpu:/x\n4:cpu,memory:/outer/inner\n",
                "sys/fs/cgroup/memory",
            ),
            ("0::/outer/inner\n", "sys/fs/cgroup"),
        ] {
            let (limit, usage) = if own.starts_with('0') {
                ("memory.max", "memory.current")
            } else {
                ("memory.limit_in_bytes", "memory.usage_in_bytes")
            };
            let path = |folder: &str, file: &str| format!("{tree}/{folder}/{file}");
            let files = [
                (path("outer/inner", limit), "max\n"),
                (path("outer/inner", usage), "1000\n"),
                (path("outer", limit), "3072000\n"),
                (path("outer", usage), "2048000\n"),
                (
                    path("outer", "memory.stat"),
                    "anon 5\ninactive_file 1024000\n",
                ),
            ];
            let mut all = vec![MEMINFO, STATUS, ("proc/self/cgroup", own)];
            all.extend(files.iter().map(|(path, text)| (path.as_str(), *text)));
            let root = root(&all);
            assert_eq!(available_in(root.path()), Some(2048000), "{own}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_and_machine_are_known() {
        let (resident, peak) = (resident().unwrap(), peak_resident().unwrap());
        assert!(resident > 1 << 20 && peak >= resident);
        // This test's program is megabytes large.
        let held = peak_held().unwrap();
        assert!(held > 0 && held + (1 << 20) < peak, "{held} of {peak}");
        assert!(available().unwrap() > 1 << 20);
    }
}
