//! The name of this host among hosts: made once in the data directory, so that a restart is recognized.
//!
//! Kafka knows a host by it: as a static member of consumer groups and in transactional ids. A copy of a data directory
//! carries the name along; two hosts of one name fence each other off, which is noticed, and better than two writers.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};

/// The file within the data directory.
const FILE: &str = "instance";

/// Bytes of chance in a name; two hosts of one group must not meet.
const BYTES: usize = 8;

/// Reads the name, 16 hex digits, or makes it. Durable on return.
pub(crate) fn instance(data: &Path) -> anyhow::Result<String> {
    let path = data.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let name = text.trim();
            let good = name.len() == 2 * BYTES && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !good {
                bail!(
                    "{} does not hold {} hex digits; remove it to make a new one, once nothing of this host is running",
                    path.display(),
                    2 * BYTES
                );
            }
            Ok(name.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make(data, &path).with_context(|| format!("cannot make {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn make(data: &Path, path: &Path) -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Written beside and renamed, so that a crash leaves none rather than half of one.
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(data)?.sync_all()?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = instance(folder.path()).unwrap();
        assert_eq!(first.len(), 16);
        assert_eq!(instance(folder.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(instance(other.path()).unwrap(), first);
    }

    #[test]
    fn what_is_no_name_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "host 7").unwrap();
        let error = format!("{:#}", instance(folder.path()).unwrap_err());
        assert!(error.contains("does not hold 16 hex digits"), "{error}");
    }
}
