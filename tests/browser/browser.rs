//! A headless Chromium with a profile of its own, and what a person does with it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{By, ChromeCapabilities, ChromiumLikeCapabilities, LoggingPrefsLogLevel};
use thirtyfour::{TypingData, WebDriver, WebElement};

use crate::wait::within;

/// How long a condition is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
const TOOLS: [&str; 2] = ["chromium", "chromedriver"];
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // They would hide the edge of a screenshot.
    "--hide-scrollbars",
    "--window-size=1280,900",
];
/// Runs before anything of the page: notes what must not come about.
const WATCH: &str = "
    window.watched = [];
    addEventListener('securitypolicyviolation', (event) =>
        watched.push(`${event.violatedDirective} forbids ${event.blockedURI} ${event.sample}`));
    for (const name of ['alert', 'confirm', 'prompt']) window[name] = (text) => watched.push(`${name}: ${text}`);
";

/// The page shows the answers to all that it asked, whatever its address.
const COMPLETE: &str = "document.querySelector('#live[data-live=connected]') !== null
    && document.querySelector('#view h1') !== null
    && !document.getElementById('view').innerText.includes('Loading…')
    && !document.getElementById('view').innerText.includes('Reading the cause…')
    && document.querySelector('#plan-result[data-busy=yes]') === null";

/// The tools that are not installed.
pub fn missing() -> Vec<&'static str> {
    let lacks = |tool: &&str| {
        let found = Command::new(tool).arg("--version").stderr(Stdio::null()).output();
        !found.is_ok_and(|output| output.status.success())
    };
    TOOLS.into_iter().filter(lacks).collect()
}

/// Waits until something is there.
pub async fn until<T>(what: &str, there: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, there).await
}

/// A browser with one window.
pub struct Browser {
    // In this order they end: a session that a failed test leaves takes its Chromium along.
    driver: WebDriver,
    _chromedriver: Chromedriver,
    _profile: TempDir,
}

struct Chromedriver(Child);

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut chromedriver = Chromedriver(
            Command::new("chromedriver")
                .arg("--port=0")
                // Chromium keeps some files there, whatever its profile.
                .env("XDG_CONFIG_HOME", profile.path())
                .env("XDG_CACHE_HOME", profile.path())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(chromedriver.0.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
            Some(port.trim_end_matches('.').parse::<u16>().unwrap())
        });
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut wanted = ChromeCapabilities::new();
        for argument in ARGUMENTS {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let url = format!("http://127.0.0.1:{}", port.unwrap());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let driver = WebDriver::builder(url, wanted).client(client).connect().await.unwrap();
        driver.set_script_timeout(PATIENCE).await.unwrap();
        driver.cdp().page().add_script_to_evaluate_on_new_document(WATCH).await.unwrap();
        Self { driver, _chromedriver: chromedriver, _profile: profile }
    }

    /// Ends the browser, which must have nothing to complain of.
    pub async fn end(self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "the browser complains: {complaints:#?}");
        self.driver.clone().quit().await.unwrap();
    }

    /// What the page did or met and must not, since the last question: an error, a violation of its
    /// Content-Security-Policy, a dialog, a request to anyone but the server.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.unwrap().into_iter();
        let mut complaints: Vec<_> = log
            .map(|entry| format!("{}: {}", entry.source.unwrap_or_default(), entry.message))
            .collect();
        complaints.extend(list(&self.ask("window.watched.splice(0)").await));
        let others = "performance.getEntries().map((entry) => entry.name)
            .filter((name) => /^[a-z]+:/.test(name) && !name.startsWith(location.origin + '/'))";
        let others = list(&self.ask(others).await);
        complaints.extend(others.iter().map(|other| format!("a request to {other}")));
        complaints
    }

    /// Goes to an address and leaves what was shown before.
    pub async fn open(&self, url: &str) {
        // From one hash to another the page would only change its view.
        self.driver.goto("about:blank").await.unwrap();
        self.driver.goto(url).await.unwrap();
    }

    /// The value of a JavaScript expression, or what it resolves to if it is a promise.
    pub async fn ask(&self, expression: &str) -> Value {
        let answer = self.driver.execute(format!("return ({expression});"), Vec::new()).await;
        answer.unwrap_or_else(|error| panic!("{expression}: {error}")).json().clone()
    }

    /// Waits until an expression is neither null nor false, and returns its value.
    pub async fn until(&self, what: &str, expression: &str) -> Value {
        let started = Instant::now();
        loop {
            let value = self.ask(expression).await;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if started.elapsed() > PATIENCE {
                let shown = self.ask("document.getElementById('main')?.innerText").await;
                panic!("waited too long for {what}; the page shows {shown:#}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the page is complete.
    pub async fn complete(&self) {
        self.until("the page to be complete", COMPLETE).await;
    }

    /// Gives the page another size.
    pub async fn resize(&self, width: u32, height: u32) {
        let emulation = self.driver.cdp();
        emulation.emulation().set_device_metrics_override(width, height, 1.0, false).await.unwrap();
    }

    /// Prefers `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Waits for an element, and returns its text.
    pub async fn text(&self, selector: &str) -> String {
        let found = format!("document.querySelector({})?.innerText", json!(selector));
        self.until(selector, &found).await.as_str().unwrap().to_owned()
    }

    /// The texts of all elements that fit.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let found = format!(
            "[...document.querySelectorAll({})].map((element) => element.innerText.trim())",
            json!(selector)
        );
        list(&self.ask(&found).await)
    }

    pub async fn count(&self, selector: &str) -> usize {
        let found = format!("document.querySelectorAll({}).length", json!(selector));
        usize::try_from(self.ask(&found).await.as_u64().unwrap()).unwrap()
    }

    pub async fn click(&self, selector: &str) {
        self.act(selector, async |element| element.click().await.ok()).await;
    }

    /// Replaces what a field holds.
    pub async fn fill(&self, selector: &str, text: &str) {
        self.act(selector, async |element| {
            element.clear().await.ok()?;
            element.send_keys(text).await.ok()
        })
        .await;
    }

    /// Chooses a value of a drop-down list.
    pub async fn choose(&self, selector: &str, value: &str) {
        self.click(&format!("{selector} option[value={}]", json!(value))).await;
    }

    /// Presses keys wherever the focus is.
    pub async fn press(&self, keys: impl Into<TypingData>) {
        self.driver.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// Does something with an element as soon as that can be done.
    async fn act(&self, selector: &str, act: impl AsyncFn(WebElement) -> Option<()>) {
        until(selector, async || {
            let element = self.driver.find(By::Css(selector)).await.ok()?;
            act(element).await
        })
        .await;
    }

    /// A command of the browser's own protocol.
    pub async fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap()
    }
}

/// A list of texts.
pub fn list(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts.map(|it| it.as_str().unwrap().to_owned()).collect()
}
