//! View files that other tests build on.

use spec::check::{Report, check};
use spec::diagnostic::render_text;
use spec::files::Files;
use spec::plan::{HostPlan, Plan};

/// An entity and a source.
pub(crate) const BASE: &str = "\
entity: { name: user, join_keys: { user_id: string } }
---
source:
  name: clicks
  push: {}
  schema: { user_id: string, ad: int64, ts: timestamp }
  timestamp_field: ts
---
";

/// A view of that source; further keys go below it.
pub(crate) const VIEW: &str = "\
view:
  name: clicks_per_user
  source: clicks
  entities: [user]
  transform: { component: v.wasm, params: { factor: 2 } }
  features: { n: int64 }
";

/// Checks one file `views/view.yaml`, files in `/data`.
pub(crate) fn report(text: &str) -> Report {
    let host = HostPlan { files_root: "/data".into(), ..HostPlan::default() };
    check(&Files::from_memory([("views/view.yaml", text)]), &host)
}

/// The plan of a file that has nothing wrong.
#[track_caller]
pub(crate) fn plan(text: &str) -> Plan {
    let report = report(text);
    assert!(!report.has_errors(), "{}", render_text(&report.diagnostics, false));
    report.plan
}
