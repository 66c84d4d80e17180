//! The machine: where data is kept, what the system allows, what transforms are built with.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spec::plan::BuildPlan;

use super::finding::Finding;
use crate::cmd::build;
use crate::cmd::run::DISK_RESERVE;
use crate::project::Project;

/// Free bytes below which a warning is due: the embedded store writes a checkpoint beside the last one, and the push log
/// takes what comes.
const DISK_COMFORT: u64 = 2 << 30;

/// Open files that a busy host may need: one for each connection that it accepts at a time, the store's tables, logs,
/// connections to brokers.
const FILES_NEEDED: u64 = 8_192;

/// Looks at the machine.
pub(super) fn look(project: &Project) -> Vec<Finding> {
    let settings = &project.settings;
    let mut findings = vec![data_directory(&settings.data_dir)];
    findings.extend(free_space(&settings.data_dir));
    findings.extend(instance(&settings.data_dir));
    findings.extend(open_files());
    findings.extend(memory(settings.online_store.memory));
    findings.extend(toolchains(project));
    findings
}

/// The nearest folder above a path that exists, itself included.
fn existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Whether the host could keep its data there; leaves nothing behind.
fn data_directory(path: &Path) -> Finding {
    let (check, subject) = ("data directory", path.display().to_string());
    let folder = existing(path);
    let try_write = || {
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(b"doctor")?;
        file.as_file().sync_all()?;
        fs::File::open(&folder)?.sync_all()
    };
    match try_write() {
        Ok(()) if folder == path || path.is_dir() => Finding::good(check, subject, "takes and syncs files"),
        Ok(()) => Finding::good(check, subject, "is not there yet; it will be made"),
        Err(error) => {
            Finding::good(check, subject, format!("cannot write into {}: {error}", folder.display()))
                .fail("name another with --data-dir, or mend its rights")
        }
    }
}

fn free_space(path: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(existing(path)).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let found =
        Finding::good("free space", path.display().to_string(), format!("{} MiB are free", free >> 20));
    Some(if free < DISK_RESERVE {
        found.fail(format!("make room: a host is not ready with less than {} MiB", DISK_RESERVE >> 20))
    } else if free < DISK_COMFORT {
        found.warn("checkpoints and push logs may need more; make room")
    } else {
        found
    })
}

/// The name that Kafka knows this host by, if it was made already.
fn instance(path: &Path) -> Option<Finding> {
    let text = fs::read_to_string(path.join("instance")).ok()?;
    let found =
        Finding::good("instance", text.trim(), "this host's name in consumer groups and transactions");
    Some(found)
}

fn open_files() -> Option<Finding> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    // Max open files            1024                 1048576              files
    let soft = line.split_whitespace().nth(3)?;
    let found = Finding::good("open files", "limit", format!("{soft} at a time"));
    let is_low = soft.parse::<u64>().is_ok_and(|limit| limit < FILES_NEEDED);
    Some(if is_low {
        found.warn(format!("raise it to {FILES_NEEDED} or more (`ulimit -n`, `LimitNOFILE=`)"))
    } else {
        found
    })
}

fn memory(bound: usize) -> Option<Finding> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let available = line.split_whitespace().nth(1)?.parse::<u64>().ok()?.saturating_mul(1024);
    let bound = u64::try_from(bound).ok()?;
    let found = Finding::good(
        "memory",
        "online_store.embedded.memory",
        format!("rows may take {} MiB, {} MiB are available", bound >> 20, available >> 20),
    );
    Some(if available < bound {
        found.warn("lower the bound, or give the machine more memory")
    } else {
        found
    })
}

/// What transforms are built with. A host that only runs components needs none of it.
fn toolchains(project: &Project) -> Vec<Finding> {
    let builds: Vec<&BuildPlan> =
        project.report.plan.views.values().filter_map(|view| view.build.as_ref()).collect();
    let needs_rust = builds.iter().any(|build| matches!(build, BuildPlan::Rust { .. }));
    let needs_python = builds.iter().any(|build| matches!(build, BuildPlan::Python { .. }));
    let check = "toolchain";
    let rust = match build::wasm_rust() {
        Some(which) => Finding::good(check, "Rust for wasm", format!("{which} builds transforms")),
        None => {
            let found =
                Finding::good(check, "Rust for wasm", "not found; only needed to build transforms in Rust");
            if needs_rust { found.warn("`host build` says how to get one") } else { found }
        }
    };
    let venv = ["-c", "import venv, ensurepip, sys; print('.'.join(map(str, sys.version_info[:2])))"];
    let python = Command::new("python3").args(venv).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let python = python.ok().filter(|output| output.status.success());
    let python = match python {
        Some(output) => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Finding::good(check, "Python", format!("{version} with venv builds transforms"))
        }
        None => {
            let found =
                Finding::good(check, "Python", "none with venv; only needed to build transforms in Python");
            if needs_python { found.warn("install python3 and python3-venv") } else { found }
        }
    };
    vec![rust, python]
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_folder_that_will_be_made_is_good_and_stays_away() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        let finding = data_directory(&data);
        assert_eq!(
            (finding.verdict, finding.message.as_str()),
            (Verdict::Good, "is not there yet; it will be made")
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(data_directory(folder.path()).message, "takes and syncs files");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_is_no_folder_is_an_error() {
        let finding = data_directory(Path::new("/proc/1"));
        assert_eq!(finding.verdict, Verdict::Error, "{finding:?}");
    }

    #[test]
    fn the_system_says_what_it_allows() {
        assert!(open_files().is_some());
        assert_eq!(memory(1).unwrap().verdict, Verdict::Good);
        assert_eq!(memory(usize::MAX).unwrap().verdict, Verdict::Warning);
    }
}
