//! A stock Feast client, unchanged, against a real host: what it pushes it reads back, with true nulls.
//!
//! `cargo xtask test` installs Feast and says where; `MILLRACE_FEAST_VENV` names the virtual environment.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Host, Workspace, checkout, guest};

use crate::support::feast;

#[test]
fn a_stock_client_pushes_and_reads() {
    let Some(python) = feast() else { return };
    let workspace = Workspace::new();
    let example = checkout().join("guest_examples/03_cart_promotion");
    for file in ["view.yaml", "samples.ndjson", "order_samples.ndjson"] {
        fs::copy(example.join(file), workspace.views().join(file)).unwrap();
    }
    for component in ["user_items_added_to_cart", "user_purchases"] {
        fs::copy(guest(component), workspace.views().join(format!("{component}.wasm"))).unwrap();
    }
    for file in ["feature_store.yaml", "features.py", "client.py"] {
        fs::copy(checkout().join("tests/feast").join(file), workspace.join(file)).unwrap();
    }
    let host = Host::start_with(&workspace, &["--require-healthy"]);
    let output = Command::new(python)
        .arg("client.py")
        .current_dir(workspace.path())
        .env("HOST_URL", &host.url)
        // Nobody is told that it was used.
        .env("FEAST_USAGE", "False")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let read: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let users = json!(["ada", "ben", "cem", "nobody"]);
    assert_eq!(
        read["one"],
        json!({"user_id": users, "quantity": [1, 2, null, null], "item_id": ["boots", "tent", null, null]})
    );
    assert_eq!(
        read["full"],
        json!({
            "user_id": users,
            "user_items_added_to_cart__value": [89.9, 498.0, null, null],
            "user_purchases__lifetime_value": [1430.5, null, 5.0, null],
        })
    );
    assert_eq!(read["service"]["previous_offers"], json!([["SPRING10", "MAY5"], null, ["WELCOME"], null]));
    assert_eq!(read["service"]["lifetime_value"], json!([1430.5, null, 5.0, null]));
    assert!(host.stop().success());
}
