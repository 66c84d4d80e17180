//! Guests for tests, benchmarks and the demo: built by the product itself, gathered in `target/guests`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::setup;
use crate::step::{cargo, root, run, target};

/// Folders that hold views with guests; each is a views folder of its own.
const FOLDERS: [&str; 5] = [
    "guest_examples/01_ad_impressions",
    "guest_examples/02_driver_stats",
    "guest_examples/03_cart_promotion",
    "guest_examples/04_search_clicks",
    "tests/guests",
];

/// The view of the first example, and the same with its changed transform.
const AD_VIEW: &str = "guest_examples/01_ad_impressions/view.yaml";
const CHANGED: [(&str, &str); 2] = [
    ("user_impression_counts.wasm", "user_impression_counts_v2.wasm"),
    ("{ rust: ad_impressions }", "{ rust: ad_impressions_v2 }"),
];

/// Components by the name that tests know them by, where that is not their file's name.
const NAMES: [(&str, &str); 4] = [
    ("user_impression_counts", "ad_impressions"),
    ("user_impression_counts_v2", "ad_impressions_v2"),
    ("driver_hourly_stats_stream", "driver_stats"),
    ("driver_hourly_stats_python", "driver_stats_py"),
];

/// Builds all guests with a development build of the host.
pub(crate) fn guests() -> anyhow::Result<()> {
    setup::compiler()?;
    setup::python()?;
    setup::wasm()?;
    run("building the host", cargo().args(["build", "--package", "host", "--bin", "host"]))?;
    let host = target().join("debug/host");
    for folder in FOLDERS {
        run(
            &format!("building the guests in {folder}"),
            Command::new(&host).arg("build").arg(root().join(folder)),
        )?;
    }
    build_changed(&host)?;
    let into = root().join("target/guests");
    fs::create_dir_all(&into).with_context(|| format!("cannot make {}", into.display()))?;
    FOLDERS.iter().try_for_each(|folder| gather(&root().join(folder), &into))
}

/// Builds the changed version of the ad-impression transform beside the first one.
pub(crate) fn build_changed(host: &Path) -> anyhow::Result<()> {
    let view = root().join(AD_VIEW);
    let mut text = fs::read_to_string(&view).with_context(|| format!("cannot read {}", view.display()))?;
    for (from, to) in CHANGED {
        text = text.replace(from, to);
    }
    // Hidden, so that it is not taken for a second view of the folder.
    let changed = view.with_file_name(".changed-view.yaml");
    fs::write(&changed, text).with_context(|| format!("cannot write {}", changed.display()))?;
    let result = run("building the changed transform", Command::new(host).arg("build").arg(&changed));
    fs::remove_file(&changed).with_context(|| format!("cannot remove {}", changed.display()))?;
    result
}

/// Copies the components below a folder.
fn gather(folder: &Path, into: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && file != "target" && !file.starts_with('.') {
            gather(&path, into)?;
        } else if let Some(stem) = file.strip_suffix(".wasm") {
            let name = NAMES.iter().find(|(known, _)| *known == stem).map_or(stem, |(_, name)| name);
            let to = into.join(format!("{name}.wasm"));
            fs::copy(&path, &to).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}
