//! Certificates for tests, made by `openssl`: an authority, a broker, a client, and those that must be refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::services::require;

/// Whether certificates can be made here; says by name which test is skipped if not.
pub fn openssl() -> bool {
    let works = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    require("openssl", works)
}

/// A folder of keys and certificates, PEM: `NAME.key`, `NAME.pem`; `NAME.full.pem` is both, as Kafka wants it.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes them in a folder: the authorities `ca` and `other-ca`, for `localhost` and 127.0.0.1 `broker` and
    /// `client`, for somebody else `wrong-host`, and `expired`.
    pub fn make(folder: &Path) {
        fs::create_dir_all(folder).expect("the folder is ours");
        let made = Self { folder: folder.to_owned() };
        for authority in ["ca", "other-ca"] {
            made.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
            ));
        }
        made.leaf("broker", "DNS:localhost,IP:127.0.0.1", "-days 30");
        made.leaf("client", "DNS:localhost,IP:127.0.0.1", "-days 30");
        made.leaf("wrong-host", "DNS:elsewhere.example", "-days 30");
        // A negative number of days ends before it begins: expired whenever one looks.
        made.leaf("expired", "DNS:localhost,IP:127.0.0.1", "-days -1");
    }

    fn leaf(&self, name: &str, names: &str, days: &str) {
        fs::write(self.path(&format!("{name}.ext")), format!("subjectAltName={names}\n"))
            .expect("the folder is ours");
        self.openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial {days} -extfile {name}.ext -out {name}.pem"
        ));
        self.openssl(&format!("pkcs8 -topk8 -nocrypt -in {name}.key -out {name}.pkcs8"));
        let read = |ending: &str| fs::read(self.path(&format!("{name}.{ending}"))).expect("it was just made");
        fs::write(self.path(&format!("{name}.full.pem")), [read("pkcs8"), read("pem")].concat())
            .expect("the folder is ours");
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .expect("openssl is there");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
