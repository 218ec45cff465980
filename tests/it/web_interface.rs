//! The web interface in a real browser, over the real binary.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::ADMIN_KEY;
use crate::process::Curtail;
use crate::webdriver::Browser;

pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The program on a file of its own, and a browser that looks at it.
pub struct Stage {
    pub browser: Browser,
    base: String,
    _curtail: Curtail,
    _directory: TempDir,
}

impl Stage {
    pub fn set() -> Self {
        Self::set_with(&[])
    }

    /// The same, with more settings.
    pub fn set_with(more: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", directory.path().join("links.db").display());
        let settings = [
            ("PORT", "0"),
            ("LISTEN_ADDRESS", "127.0.0.1"),
            ("DATABASE_URL", &database),
            ("ADMIN_API_KEY", ADMIN_KEY),
            ("ALLOW_PRIVATE_TARGETS", "true"),
            ("CLICK_FLUSH_MS", "50"),
            ("CREATE_RATE_PER_MINUTE", "0"),
        ];
        let curtail = Curtail::start(&[&settings, more].concat());
        let base = format!("http://{}", curtail.address);
        Self {
            browser: Browser::start(&base),
            base,
            _curtail: curtail,
            _directory: directory,
        }
    }

    pub fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.base))
            .header("authorization", format!("Bearer {ADMIN_KEY}"))
            .header("content-type", "application/json");
        let mut response = ureq::run(request.body(body.to_string()).unwrap()).unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap_or_default()
    }

    pub fn api_get(&self, path: &str) -> Value {
        let request = ureq::get(format!("{}/api/v1{path}", self.base));
        let mut response = request
            .header("authorization", format!("Bearer {ADMIN_KEY}"))
            .call()
            .unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    }

    pub fn create(&self, body: &Value) {
        self.api("POST", "/links", body);
    }

    /// Follows a link as a person would, who came from somewhere.
    pub fn click(&self, path: &str, referrer: &str, agent: &str) {
        let agent_of_ours: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
        let request = agent_of_ours.get(format!("{}{path}", self.base));
        let request = request
            .header("user-agent", agent)
            .header("accept-language", "de-CH");
        request.header("referer", referrer).call().unwrap();
    }

    pub fn sign_in(&self) {
        Self::sign_in_with(&self.browser);
    }

    fn sign_in_with(browser: &Browser) {
        browser.go("/app/sign-in");
        browser.find("#key").fill(ADMIN_KEY);
        browser.find("main form button").click();
        browser.wait("the list of links", || browser.path() == "/app");
    }

    #[track_caller]
    fn assert_quiet(&self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

/// Another site, which links lead to.
fn elsewhere() -> String {
    elsewhere_with("")
}

/// The same, with more on its page.
fn elsewhere_with(more: &str) -> String {
    let more = more.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head =
                "<!doctype html><title>Elsewhere</title><link rel=icon href='data:,'><h1>Elsewhere</h1>";
            let body = format!("{head}{more}");
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://localhost:{port}/")
}

#[test]
fn a_person_makes_follows_changes_watches_and_deletes_a_link() {
    let stage = Stage::set();
    let (browser, target) = (&stage.browser, elsewhere());
    let permissions =
        json!({"origin": stage.base, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    browser.command("Browser.grantPermissions", permissions);

    // Sign in.
    browser.go("/");
    browser.button("Sign in").click();
    browser.find("#key").fill("nonsense");
    browser.find("main form button").click();
    browser.wait("the fault", || browser.has("#key-fault"));
    assert_eq!(browser.find("#key").value(), "");
    browser.find("#key").fill(ADMIN_KEY);
    browser.find("main form button").click();
    browser.wait_for_path("/app");
    browser.complaints();

    // Shorten and copy.
    browser.go("/");
    browser.find("#url").fill(&format!("{target}landing"));
    browser.button("Name and expiry").click();
    browser.find("#slug").fill("story");
    browser.find("main form button").click();
    browser.wait_for_path("/?made=story");
    browser.button("Copy").click();
    browser.wait("the copy", || browser.text("button[data-copy]") == "Copied");
    let copied = browser.run_and_wait("navigator.clipboard.readText().then(arguments[0], arguments[0])");
    assert_eq!(copied, format!("{}/story", stage.base));

    // Watch a click come in, without a reload.
    browser.go("/app/links/story?span=day");
    assert!(!browser.has(".chart .clicks"));
    browser.run("window.mark = 'still the same page'");
    stage.click("/story?qr", "https://news.example/a", FIREFOX);
    browser.wait("the click in the chart", || browser.has(".chart .clicks"));
    let figures = browser.text(".figures");
    assert_eq!(
        figures.split_whitespace().collect::<Vec<_>>().join(" "),
        "Clicks 1 Visitors 1 QR scans 1 Bots 0"
    );
    assert!(browser.text("[data-refresh]").contains("news.example"));
    assert_eq!(browser.run("return window.mark"), "still the same page");

    // Follow.
    browser.find("a.short").click();
    browser.wait("the target", || browser.text("h1") == "Elsewhere");

    // Edit.
    browser.go("/app/links/story");
    browser.button("Edit").click();
    browser.find("#title").fill("A story");
    browser.find("#max_clicks").fill("0");
    browser.button("Save").click();
    browser.wait("the fault", || browser.has("#max_clicks-fault"));
    assert_eq!(browser.find("#title").value(), "A story");
    browser.find("#max_clicks").fill("");
    browser.button("Save").click();
    browser.wait_for_path("/app/links/story?saved");
    assert!(browser.text("h1").starts_with("A story"));

    // Delete and undo.
    browser.button("Delete").click();
    browser.wait_for_path("/app/links/story/delete");
    browser.button("Delete").click();
    browser.wait_for_path("/app?deleted=story");
    assert!(!browser.text("main").contains("A story"));
    browser.button("Undo").click();
    browser.wait_for_path("/app/links/story?restored");
    browser.wait("the clicks", || browser.text(".figures dd") == "2");

    // Many at once.
    browser.go("/app/bulk");
    browser
        .find("#lines")
        .fill(&format!("{target}1\n{target}2 second\nnonsense"));
    browser.button("Make links").click();
    browser.wait("the results", || browser.text("h1") == "2 links made, 1 refused");
    assert_eq!(browser.find("#lines").value(), "nonsense");
    // A reload sends the form again, and creates nothing.
    let shown = browser.text("table.results");
    browser.run("window.mark = 'before the reload'");
    browser.command("Page.reload", json!({}));
    browser.wait("the reload", || {
        browser.run("return window.mark || null") == Value::Null && browser.has("table.results")
    });
    assert_eq!(browser.text("table.results"), shown);
    let listed = stage.api_get("/links");
    assert_eq!(listed["links"].as_array().unwrap().len(), 3, "{listed}");

    // Sign out.
    browser.button("Sign out").click();
    browser.wait("the front page", || browser.path() == "/");
    browser.go("/app");
    browser.wait_for_path("/app/sign-in");
    let complaints = browser.complaints();
    let unexpected: Vec<_> = complaints.iter().filter(|line| !line.contains("422")).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// A click on another site came without the cookie, and its answer replaced the session.
#[test]
fn a_click_on_another_site_leaves_the_session_as_it_is() {
    let stage = Stage::set();
    let browser = &stage.browser;
    stage.create(&json!({"url": "https://example.org/", "slug": "sale"}));
    // The menu of `/docs` is the same for everybody.
    let pages = ["/", "/app", "/app/links/sale", "/docs", "/app/keys"];
    let link = |path: &&str| format!("<p><a href='{}{path}'>to {path}</a>", stage.base);
    let form = format!(
        "<form method=post action='{}/app/links/sale/state'><button name=disabled value=on>take down</button></form>",
        stage.base
    );
    let site = elsewhere_with(&(pages.iter().map(link).collect::<String>() + &form));
    stage.sign_in();

    for page in pages {
        browser.run(&format!("location = '{site}'"));
        browser.wait("the other site", || browser.text("h1") == "Elsewhere");
        browser.find(&format!("a[href='{}{page}']", stage.base)).click();
        browser.wait("the page", || browser.path() == page && browser.has("header nav"));
        let is_signed_in = browser.text("header nav").contains("Sign out");
        assert!(is_signed_in || page == "/docs", "{page}");
    }
    // What the other site's form does: it comes without the cookie, and is refused.
    browser.run(&format!("location = '{site}'"));
    browser.wait("the other site", || browser.text("h1") == "Elsewhere");
    browser.find("form button").click();
    browser.wait("the answer", || browser.path() == "/app");
    assert_eq!(stage.api_get("/links/sale")["disabled"], false);

    browser.go("/app");
    assert_eq!(browser.text("h1"), "Links");
}

/// The second editor's form replaced what the first one had saved.
#[test]
fn of_two_editors_the_second_reads_of_the_first_and_loses_nothing_typed() {
    let stage = Stage::set();
    stage.create(
        &json!({"url": "https://example.org/", "slug": "shared", "title": "Old", "tags": ["spring"]}),
    );
    let (first, second) = (&stage.browser, Browser::start(&stage.base));
    for editor in [first, &second] {
        Stage::sign_in_with(editor);
        editor.go("/app/links/shared/edit");
    }
    first.find("#title").fill("First");
    first.find("#tags").fill("spring, sale");
    first.button("Save").click();
    first.wait_for_path("/app/links/shared?saved");
    first.button("Disable").click();
    first.wait("the state", || first.text("h1").contains("Disabled"));

    second.find("#title").fill("Second");
    second.find("#max_clicks").fill("9");
    second.button("Save").click();

    second.wait("the notice", || second.has("[role=alert]"));
    let notice = second.text("[role=alert]");
    for part in [
        "was changed while you edited it",
        "Title: now “First”, yours “Second”",
        "Tags: now “spring, sale”",
        "Disabled: now “on”",
    ] {
        assert!(notice.contains(part), "{part}: {notice}");
    }
    let typed = ["#title", "#max_clicks", "#tags"].map(|field| second.find(field).value());
    assert_eq!(typed, ["Second", "9", "spring, sale"]);
    let kept = stage.api_get("/links/shared");
    assert_eq!(
        (&kept["title"], &kept["max_clicks"]),
        (&json!("First"), &json!(null))
    );

    second.button("Save").click();

    second.wait_for_path("/app/links/shared?saved");
    let saved = stage.api_get("/links/shared");
    assert_eq!(
        (&saved["title"], &saved["max_clicks"]),
        (&json!("Second"), &json!(9))
    );
    assert_eq!(
        (&saved["tags"], &saved["disabled"]),
        (&json!(["spring", "sale"]), &json!(true))
    );
}

#[test]
fn without_script_a_link_is_made_all_the_same() {
    let stage = Stage::set();
    let browser = &stage.browser;
    browser.command("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    stage.sign_in();

    browser.go("/");
    browser.find("#url").fill("example.org/without");
    browser.find("main form button").click();
    browser.wait_for_path("/?made=");

    assert!(browser.text(".result").contains("https://example.org/without"));
    assert!(
        browser.has(".result button[hidden]"),
        "a button that needs script is shown"
    );
    assert!(browser.has(".qr svg"));
    let slug = browser.path().replace("/?made=", "");
    browser.go(&format!("/app/links/{slug}"));
    browser.find("a[href$='/delete']").click();
    browser.find("button.danger").click();
    browser.wait_for_path("/app?deleted=");
    browser.find(".notice button").click();
    browser.wait_for_path(&format!("/app/links/{slug}?restored"));
}

#[test]
fn an_expired_link_says_so_in_the_visitors_language() {
    let stage = Stage::set();
    let browser = &stage.browser;
    stage
        .create(&json!({"url": "https://example.org/", "slug": "old", "expires_at": "2020-01-01T00:00:00Z"}));
    let language = |tag: &str| {
        let parameters = json!({"userAgent": FIREFOX, "acceptLanguage": tag});
        browser.command("Emulation.setUserAgentOverride", parameters);
        browser.go("/old");
        (
            browser.text("h1"),
            browser.run("return document.documentElement.lang"),
        )
    };

    let german = language("de-CH");
    let spanish = language("es");

    assert_eq!(german, ("Diesen Link gibt es nicht mehr".to_owned(), json!("de")));
    assert_eq!(spanish, ("Este enlace ya no existe".to_owned(), json!("es")));
}

#[test]
fn what_others_wrote_stays_text() {
    let stage = Stage::set();
    let browser = &stage.browser;
    let hostile = "</title><script>window.owned=1</script><img src=x onerror=window.owned=1>\"'><svg onload=window.owned=1>";
    stage.create(&json!({
        "url": format!("https://example.org/?a=</a><script>window.owned=1</script>\"'#{hostile}"),
        "slug": "hostile", "title": hostile, "tags": ["<img src=x onerror=window.owned=1>", "\" onmouseover=\"window.owned=1"],
    }));
    for referrer in [
        "https://<script>window.owned=1</script>.example/",
        "javascript:window.owned=1",
        "https://a\"onload=\"x.example/",
    ] {
        stage.click("/hostile", referrer, hostile);
    }
    stage.sign_in();
    browser.complaints();
    let pages = [
        "/hostile+",
        "/app",
        "/app?q=%3Cscript%3Ewindow.owned%3D1%3C%2Fscript%3E&tag=%22%3E%3Cimg+src%3Dx+onerror%3Dwindow.owned%3D1%3E",
        "/app?deleted=%3Cscript%3E&cursor=%3Cscript%3E",
        "/app/links/hostile?span=%22%3E%3Cscript%3E",
        "/app/links/hostile/edit",
        "/app/links/hostile/delete",
        "/app/new?url=%22%3E%3Cscript%3Ewindow.owned%3D1%3C%2Fscript%3E",
        "/?made=hostile",
        "/app/sign-in?to=javascript:window.owned=1",
    ];

    for page in pages {
        browser.go(page);
        assert_eq!(browser.run("return window.owned || null"), Value::Null, "{page}");
        let foreign = "return document.querySelectorAll('main script, main img, [onerror], [onload], [onmouseover]').length";
        assert_eq!(browser.run(foreign), 0, "{page}");
        stage.assert_quiet();
    }
    browser.go("/app/links/hostile");
    assert!(browser.text("h1").starts_with(hostile), "{}", browser.text("h1"));
    browser.go("/app/bulk");
    browser
        .find("#lines")
        .fill(&format!("{hostile}\n</textarea><script>window.owned=1</script>"));
    browser.button("Make links").click();
    browser.wait("the results", || browser.text("h1").contains("refused"));
    assert_eq!(browser.run("return window.owned || null"), Value::Null);
    assert_eq!(
        browser.run("return document.querySelectorAll('main script').length"),
        0
    );
}
