//! A running host, seen from outside.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use crate::ports::free_address;
use crate::wait::{LIMIT, eventually};
use crate::workspace::{Workspace, host_binary};

/// A host process of one workspace. Killed when dropped.
pub struct Host {
    child: Child,
    agent: Agent,
    /// Where it listens.
    pub url: String,
    log: PathBuf,
    /// Where in the log this start begins.
    log_from: usize,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header values by lower-case name.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Host {
    /// Runs one command of the host to its end, in the workspace.
    pub fn command(workspace: &Workspace, arguments: &[&str]) -> Output {
        host(workspace)
            .args(arguments)
            .args(["--color", "never"])
            .current_dir(workspace.path())
            .stdin(Stdio::null())
            .output()
            .expect("the host can be started")
    }

    /// Starts `host run` on the workspace and waits until it is ready.
    #[track_caller]
    pub fn start(workspace: &Workspace) -> Self {
        Self::start_with(workspace, &[])
    }

    /// The same with further arguments.
    #[track_caller]
    pub fn start_with(workspace: &Workspace, arguments: &[&str]) -> Self {
        Self::spawn(workspace, arguments).when_started()
    }

    #[track_caller]
    fn when_started(mut self) -> Self {
        eventually("the host has started", || {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                panic!("the host stopped with {status}; it said:\n{}", self.log());
            }
            // Recovery and a full disk are not ready either, but started.
            self.try_get("/readyz").filter(|answer| !answer.text.contains("\"starting\""))
        });
        self
    }

    /// Starts `host run`, which must stop by itself; gives its status and what it said.
    #[track_caller]
    pub fn stopped(workspace: &Workspace, arguments: &[&str]) -> (ExitStatus, String) {
        Self::spawn(workspace, arguments).wait()
    }

    /// Starts `host run` without waiting for anything.
    pub fn spawn(workspace: &Workspace, arguments: &[&str]) -> Self {
        let address = if let Some(index) = arguments.iter().position(|argument| *argument == "--listen") {
            arguments[index + 1].to_owned()
        } else {
            free_address()
        };
        let log = workspace.join("host.log");
        let log_from = fs::read(&log).map_or(0, |bytes| bytes.len());
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("the folder is ours");
        let mut command = host(workspace);
        command.args(["run", "--views"]).arg(workspace.views()).args(["--color", "never"]);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", &address]);
        }
        let child = command
            .args(arguments)
            .current_dir(workspace.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the host can be started");
        Self::of(child, &address, log, log_from)
    }

    /// A host that somebody else has started in the workspace; waits until it is ready.
    #[track_caller]
    pub fn adopt(child: Child, workspace: &Workspace, address: &str) -> Self {
        Self::of(child, address, workspace.join("host.log"), 0).when_started()
    }

    fn of(child: Child, address: &str, log: PathBuf, log_from: usize) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { child, agent: config.into(), url: format!("http://{address}"), log, log_from }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_from..).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// GET; `None` if nobody answers.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        answer(self.agent.get(format!("{}{path}", self.url)).call())
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path)
            .unwrap_or_else(|| panic!("no answer to GET {path}; the host said:\n{}", self.log()))
    }

    /// POST; `None` if nobody answers.
    pub fn try_post(&self, path: &str, body: impl AsRef<[u8]>) -> Option<Answer> {
        answer(self.agent.post(format!("{}{path}", self.url)).send(body.as_ref()))
    }

    /// POST.
    #[track_caller]
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.try_post(path, body)
            .unwrap_or_else(|| panic!("no answer to POST {path}; the host said:\n{}", self.log()))
    }

    /// Pushes events, all of which must be taken.
    #[track_caller]
    pub fn push(&self, source: &str, events: impl AsRef<[u8]>) {
        let answer = self.post(&format!("/v1/push/{source}"), events);
        let body = answer.json();
        assert_eq!((answer.status, &body["rejected"]), (200, &serde_json::json!([])), "{}", answer.text);
    }

    /// The status of a view, as `/readyz` shows it.
    #[track_caller]
    pub fn view(&self, name: &str) -> Value {
        let body = self.get("/readyz").json();
        let views = body["views"].as_array().expect("the host lists its views");
        views.iter().find(|view| view["view"] == name).cloned().unwrap_or(Value::Null)
    }

    /// Waits until a view's status satisfies a condition, and gives it.
    #[track_caller]
    pub fn view_when(&self, name: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.eventually(&format!("view `{name}`: {what}"), || {
            let view = self.view(name);
            if condition(&view) { Ok(view) } else { Err(format!("it is {view:#}")) }
        })
    }

    /// Repeats until there is an answer. Panics if none comes within [`LIMIT`], with what it is waited for, how far it has
    /// come, and what the host says.
    #[track_caller]
    pub fn eventually<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
        let started = Instant::now();
        loop {
            let so_far = match attempt() {
                Ok(answer) => return answer,
                Err(so_far) => so_far,
            };
            assert!(
                started.elapsed() < LIMIT,
                "waited {} s for: {what}; {so_far}; it answers {}; the host said:\n{}",
                LIMIT.as_secs(),
                self.try_get("/readyz").map_or_else(|| "nobody".to_owned(), |answer| answer.text),
                self.log()
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn ready(&self) {
        self.eventually("the host is ready", || match self.get("/readyz").status {
            200 => Ok(()),
            status => Err(format!("its status is {status}")),
        });
    }

    /// Waits until it says that it is not ready, with these words; gives what it says.
    #[track_caller]
    pub fn unready(&self, words: &str) -> String {
        self.eventually(&format!("the host is not ready and says `{words}`"), || {
            let answer = self.try_get("/readyz").ok_or("it does not listen yet")?;
            let is_so = answer.status == 503 && answer.text.contains(words);
            if is_so { Ok(answer.text) } else { Err(format!("its status is {}", answer.status)) }
        })
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// Waits for the end; gives the status and what it said.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, String) {
        let child = &mut self.child;
        let status = eventually("the host ends", || child.try_wait().expect("the child is ours"));
        (status, self.log())
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn stop(self) -> ExitStatus {
        self.signal("-TERM");
        self.wait().0
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .expect("kill is there");
        assert!(status.success());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing may be left running, whatever became of the test.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The host's command, whatever the environment of the tests says to hosts, and never with the account of whoever runs
/// them. The servers here take anybody; a test that wants other credentials writes them as a shared file of AWS into
/// `aws-credentials` in its workspace.
fn host(workspace: &Workspace) -> Command {
    let mut command = Command::new(host_binary());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HOST_") || name.starts_with("AWS_") {
            command.env_remove(&*name);
        }
    }
    let credentials = workspace.join("aws-credentials");
    if credentials.is_file() {
        command.env("AWS_SHARED_CREDENTIALS_FILE", credentials);
    } else {
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    }
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<Answer> {
    let mut response = response.ok()?;
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let status = response.status().as_u16();
    // Metrics and long listings may be large; nothing here is larger than this.
    let text = response.body_mut().with_config().limit(1 << 28).read_to_string().ok()?;
    Some(Answer { status, headers, text })
}
