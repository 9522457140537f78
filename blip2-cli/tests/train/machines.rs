//! Two machines train as one, over a network: each is a network namespace of this one, with a host name and an
//! address of its own, so that `mpirun` has to start the other's process by its agent, and MPI to send over TCP.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{
    helpers::{blip2, data, errors},
    mpi::{assert_same, recipe, wait, wait_for_state},
    newest,
};

/// Enters a machine as `ssh` would: the first argument is its name, the others are what its shell is to run.
const AGENT: &str = "#!/bin/sh
host=$1
shift
exec ip netns exec \"$host\" unshare --uts sh -c \"hostname $host; $*\"
";

/// Two namespaces that see each other and nothing else.
struct Machines {
    names: [String; 2],
    folder: PathBuf,
}

impl Machines {
    /// `None` where namespaces may not be made.
    fn new(folder: &Path) -> Option<Self> {
        let own = std::process::id();
        let names = ["red", "blue"].map(|name| format!("{name}{own}"));
        let made = Self {
            names,
            folder: folder.to_path_buf(),
        };
        let [red, blue] = &made.names;
        // An interface's name has at most 15 letters.
        let ends = [format!("r{own}"), format!("b{own}")];
        let is_allowed = ip(&["netns", "add", red]) && ip(&["netns", "add", blue]);
        if !is_allowed {
            return None;
        }
        let pair = [
            "link", "add", &ends[0], "netns", red, "type", "veth", "peer", "name", &ends[1],
            "netns", blue,
        ];
        assert!(ip(&pair), "a cable between two namespaces");
        // Addresses for documentation (RFC 5737), which no network has.
        for ((name, end), address) in made.names.iter().zip(&ends).zip(["192.0.2.1", "192.0.2.2"]) {
            let address = format!("{address}/24");
            assert!(ip(&["-n", name, "addr", "add", &address, "dev", end]));
            assert!(ip(&["-n", name, "link", "set", "lo", "up"]));
            assert!(ip(&["-n", name, "link", "set", end, "up"]));
        }
        made.write("agent", AGENT, 0o755);
        made.write("hosts", &format!("{red} slots=1\n{blue} slots=1\n"), 0o644);
        Some(made)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.folder.join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(mode);
        file.open(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// `mpirun blip2 train FILE` on the first of them, for a process on each.
    fn train(&self, file: &Path) -> Command {
        let mut command = Command::new(self.folder.join("agent"));
        command.arg(&self.names[0]).arg("exec").arg("mpirun");
        command.args(["--allow-run-as-root", "--bind-to", "none", "--hostfile"]);
        command.arg(self.folder.join("hosts"));
        command.args(["--mca", "plm_rsh_agent"]);
        command.arg(self.folder.join("agent"));
        command.arg(blip2().get_program()).arg("train").arg(file);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Kills all that runs on the second.
    fn lose_second(&self) {
        let [_, blue] = &self.names;
        let found = Command::new("ip").args(["netns", "pids", blue]).output();
        let pids = String::from_utf8(found.unwrap().stdout).unwrap();
        assert!(!pids.trim().is_empty(), "nothing runs there");
        let killed = Command::new("kill")
            .arg("-KILL")
            .args(pids.split_whitespace())
            .status();
        assert!(killed.unwrap().success());
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    let ran = Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}

fn success(output: &Output) {
    assert!(output.status.success(), "{}", errors(output));
}

#[test]
fn two_machines_train_as_one_and_losing_one_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(machines) = Machines::new(folder.path()) else {
        eprintln!("left out: only root, with `ip` of iproute2, makes network namespaces");
        return;
    };
    data(folder.path());
    let alone = recipe(folder.path(), "alone");
    success(&blip2().arg("train").arg(&alone).output().unwrap());

    let together = recipe(folder.path(), "together");
    let output = machines.train(&together).output().unwrap();
    success(&output);
    let text = errors(&output);
    assert!(text.contains("processes 2"), "{text}");
    assert_same(&alone.with_extension(""), &together.with_extension(""));

    let lost = recipe(folder.path(), "lost");
    let states = lost.with_extension("").join("states");
    let child = machines.train(&lost).spawn().unwrap();
    wait_for_state(&states, &None);
    machines.lose_second();
    assert!(!wait(child).status.success());
    assert!(newest(&states).is_some());
    let output = machines.train(&lost).output().unwrap();
    success(&output);
    assert!(errors(&output).contains("going on after"));
    assert_same(&alone.with_extension(""), &lost.with_extension(""));
}
