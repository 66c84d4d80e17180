//! What the compiler says to authors, and where: each `//~ text` in `compile_fail/*.rs` stands on the line of an error
//! that contains the text. Compared by line and text, not by the whole output, which differs between compilers.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CASES: [&str; 3] = ["column_types", "structs", "functions"];

#[test]
fn errors_point_at_what_the_author_wrote() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    std::fs::create_dir_all(&project).unwrap();
    let mut manifest = format!(
        "[workspace]\n[package]\nname = \"cases\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nmillrace = {{ path = {sdk:?}, default-features = false }}\n"
    );
    for case in CASES {
        let path = sdk.join("tests/compile_fail").join(format!("{case}.rs"));
        manifest += &format!("[[bin]]\nname = {case:?}\npath = {path:?}\n");
    }
    std::fs::write(project.join("Cargo.toml"), manifest).unwrap();
    // The versions of the workspace, which are at hand.
    std::fs::copy(sdk.join("../../Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--bins", "--keep-going", "--message-format=json", "--offline", "--target-dir"])
        .arg(project.join("target"))
        .current_dir(&project)
        .output()
        .unwrap();

    let found: BTreeSet<(String, u64, String)> =
        String::from_utf8(output.stdout).unwrap().lines().flat_map(errors).collect();
    assert!(!found.is_empty(), "no case was compiled: {}", String::from_utf8_lossy(&output.stderr));
    for case in CASES {
        let text =
            std::fs::read_to_string(sdk.join("tests/compile_fail").join(format!("{case}.rs"))).unwrap();
        for (line, wanted) in
            (1..).zip(text.lines()).filter_map(|(line, text)| Some((line, text.split_once("//~ ")?.1)))
        {
            let there =
                found.iter().any(|(of, at, message)| of == case && *at == line && message.contains(wanted));
            assert!(there, "{case}.rs:{line}: expected `{wanted}`, found {found:#?}");
        }
    }
}

/// Case, line and message of the error in a line of Cargo's output, once for each place that it points at.
fn errors(line: &str) -> Vec<(String, u64, String)> {
    let Ok(message) = serde_json::from_str::<Value>(line) else { return Vec::new() };
    if message["reason"] != "compiler-message" || message["message"]["level"] != "error" {
        return Vec::new();
    }
    let case = message["target"]["name"].as_str().unwrap_or_default();
    let text = message["message"]["message"].as_str().unwrap_or_default();
    let spans = message["message"]["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let primary = spans.iter().filter(|span| span["is_primary"] == true);
    primary
        .filter_map(|span| Some((case.to_owned(), span["line_start"].as_u64()?, text.to_owned())))
        .collect()
}
