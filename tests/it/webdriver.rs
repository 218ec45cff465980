//! A real browser, driven over WebDriver: <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::db::variable;

/// The key under which elements are referred to.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How long something on a page is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a driver is started that ends before it listens.
const STARTS: usize = 3;

/// The browser. It ends with this.
pub struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
    base: String,
    _profile: TempDir,
}

/// Something on a page. It is looked for whenever it is used, so that a page which takes another's place, or a script
/// that renews a part of it, does not come between.
pub struct Element<'a> {
    browser: &'a Browser,
    using: &'static str,
    selector: String,
}

fn needed(name: &str) -> String {
    variable(name)
        .unwrap_or_else(|| panic!("{name} is not set: use scripts/test, which finds or installs a browser"))
}

/// Starts a driver, and answers it with the line in which it names its port; `None` if it ends before that.
fn driver(home: &Path) -> Option<(Child, String)> {
    let mut driver = Command::new(needed("TEST_CHROMEDRIVER"))
        .arg("--port=0")
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let started = lines
        .map(Result::unwrap)
        .find(|line| line.contains("started successfully on port"));
    if started.is_none() {
        driver.wait().unwrap();
    }
    Some((driver, started?))
}

impl Browser {
    /// Starts a browser whose pages are below `base`.
    pub fn start(base: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The driver chooses a port, and ends if another program takes it meanwhile.
        let (driver, line) = (0..STARTS)
            .find_map(|_| driver(profile.path()))
            .expect("the driver ends before it listens");
        let port = line.rsplit(' ').next().unwrap().trim_end_matches('.').to_owned();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            agent,
            base: base.to_owned(),
            _profile: profile,
        };
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--lang=en",
            "--window-size=1200,900",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            // It says HeadlessChrome otherwise, which is a program and no person.
            "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!(
            "--user-data-dir={}",
            browser._profile.path().join("data").display()
        ));
        let options = json!({"args": arguments, "binary": needed("TEST_CHROMIUM")});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"}}}});
        let session = browser.post("", &wanted);
        let id = session["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let response = match (method, body) {
            ("GET", _) => self.agent.get(&url).call(),
            ("DELETE", _) => self.agent.delete(&url).call(),
            (_, body) => {
                let text = body.map_or_else(|| "{}".to_owned(), Value::to_string);
                self.agent.post(&url).content_type("application/json").send(text)
            }
        };
        let mut response = response.map_err(|err| format!("{method} {path}: {err}"))?;
        let text = response
            .body_mut()
            .with_config()
            .limit(64 * 1024 * 1024)
            .read_to_string()
            .unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        if response.status().as_u16() >= 400 {
            return Err(format!(
                "{method} {path}: {}: {}",
                answer["value"]["error"], answer["value"]["message"]
            ));
        }
        Ok(answer["value"].take())
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, Some(body)).unwrap()
    }

    /// A command of the browser's own protocol.
    #[track_caller]
    pub fn command(&self, name: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }

    /// Opens a path of the service.
    #[track_caller]
    pub fn go(&self, path: &str) {
        self.post("/url", &json!({"url": format!("{}{path}", self.base)}));
    }

    /// Where the browser is, without the service's address.
    pub fn path(&self) -> String {
        let url = self.send("GET", "/url", None).unwrap();
        url.as_str().unwrap().trim_start_matches(&self.base).to_owned()
    }

    /// Waits until the address begins so.
    #[track_caller]
    pub fn wait_for_path(&self, path: &str) {
        self.wait(&format!("the path {path}"), || self.path().starts_with(path));
    }

    #[track_caller]
    pub fn wait(&self, what: &str, found: impl Fn() -> bool) {
        let start = Instant::now();
        while !found() {
            assert!(
                start.elapsed() < PATIENCE,
                "waited for {what} at {}: {}",
                self.path(),
                self.text("body")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The element that a selector finds.
    pub fn find(&self, selector: &str) -> Element<'_> {
        Element {
            browser: self,
            using: "css selector",
            selector: selector.to_owned(),
        }
    }

    /// The button or link with this text.
    pub fn button(&self, text: &str) -> Element<'_> {
        Element {
            browser: self,
            using: "xpath",
            selector: format!("//*[self::button or self::a or self::summary][normalize-space()='{text}']"),
        }
    }

    pub fn has(&self, selector: &str) -> bool {
        let found = self.send(
            "POST",
            "/elements",
            Some(&json!({"using": "css selector", "value": selector})),
        );
        !found.unwrap().as_array().unwrap().is_empty()
    }

    /// What a person reads in an element.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let text = self.find(selector).ask("GET", "text", None);
        text.as_str().unwrap().to_owned()
    }

    /// Runs a script on the page; it returns a value.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs a script that calls its last argument with a value.
    #[track_caller]
    pub fn run_and_wait(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// A picture of what is seen.
    pub fn screenshot(&self) -> Vec<u8> {
        let picture = self.command("Page.captureScreenshot", json!({"format": "png"}));
        let text = picture["data"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    /// What the browser complained about: scripts that failed, what the policy refused, what was not found.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let lines = log.as_array().unwrap().iter();
        lines
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Sets how wide the page is, in dots.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", size);
    }

    /// Sets the colours that somebody prefers. Nothing moves, so that new ones are there at once.
    pub fn prefer(&self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.command("Emulation.setEmulatedMedia", json!({"features": features}));
    }
}

impl Element<'_> {
    /// Asks something of the element, as soon as it is there.
    #[track_caller]
    fn ask(&self, method: &str, what: &str, body: Option<&Value>) -> Value {
        let browser = self.browser;
        let wanted = json!({"using": self.using, "value": self.selector});
        let start = Instant::now();
        loop {
            let answer = browser.send("POST", "/element", Some(&wanted)).and_then(|found| {
                let id = found[ELEMENT].as_str().unwrap();
                browser.send(method, &format!("/element/{id}/{what}"), body)
            });
            match answer {
                Ok(value) => return value,
                Err(err) => {
                    let passes = ["no such element", "stale element reference"];
                    let waits = passes.iter().any(|error| err.contains(error)) && start.elapsed() < PATIENCE;
                    assert!(waits, "{what} of {} at {}: {err}", self.selector, browser.path());
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn click(&self) {
        self.ask("POST", "click", Some(&json!({})));
    }

    /// Types, in place of what stands there.
    #[track_caller]
    pub fn fill(&self, text: &str) {
        self.ask("POST", "clear", Some(&json!({})));
        self.ask("POST", "value", Some(&json!({"text": text})));
    }

    /// What stands in a field.
    #[track_caller]
    pub fn value(&self) -> String {
        let value = self.ask("GET", "property/value", None);
        value.as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.send("DELETE", "", None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
