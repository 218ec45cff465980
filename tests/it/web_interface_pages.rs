//! How every page of the web interface looks and reads: light, dark and narrow, and to people with disabilities.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::db::variable;
use crate::ground::{Ground, Switch};
use crate::web_interface::{FIREFOX, Stage};
use crate::webdriver::Browser;

/// The most bytes of a page, compressed.
const MOST_BYTES: usize = 30_000;

/// How each page is looked at: name, width and colours.
const WAYS: [(&str, u32, &str); 3] = [
    ("light", 1200, "light"),
    ("dark", 1200, "dark"),
    ("narrow", 320, "light"),
];

/// A form that is sent: what its answer is called, the page that has it, where it goes, the values of its fields, and
/// what only the answer has.
type Sent<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// Looks at pages, keeps a picture of each, and remembers what is wrong with them.
struct Gallery<'a> {
    browser: &'a Browser,
    axe: String,
    pictures: PathBuf,
    wrong: Vec<String>,
}

impl<'a> Gallery<'a> {
    fn of(browser: &'a Browser) -> Self {
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&pictures).unwrap();
        let axe = variable("TEST_AXE").expect("TEST_AXE names axe-core: use scripts/test");
        Self {
            browser,
            axe: std::fs::read_to_string(axe).unwrap(),
            pictures,
            wrong: Vec::new(),
        }
    }

    /// Opens a path and looks at it.
    fn visit(&mut self, name: &str, path: &str) {
        self.browser.go(path);
        if name == "link" {
            let browser = self.browser;
            browser.wait("the chart", || browser.has(".chart .clicks"));
        }
        self.look(name);
    }

    /// Sends a form and looks at what comes back.
    fn send(&mut self, (name, page, action, fields, shown): Sent<'_>) {
        let browser = self.browser;
        browser.go(page);
        submit(browser, action, fields);
        browser.wait(name, || browser.has(shown));
        self.look(name);
    }

    /// Looks at the page that is open, with everything on it unfolded.
    fn look(&mut self, name: &str) {
        let browser = self.browser;
        browser.run("document.querySelectorAll('details').forEach((it) => it.open = true)");
        for (way, width, scheme) in WAYS {
            browser.prefer(scheme);
            browser.resize(width, 800);
            let mut found = violations(browser, &self.axe);
            found.extend(too_wide(browser, width));
            let height = dots(browser, "scrollHeight").clamp(600, 2400);
            browser.resize(width, u32::try_from(height).unwrap());
            let picture = self.pictures.join(format!("{name}-{way}.png"));
            std::fs::write(picture, browser.screenshot()).unwrap();
            self.wrong
                .extend(found.into_iter().map(|it| format!("{name}, {way}: {it}")));
        }
        self.wrong
            .extend(too_heavy(browser).map(|it| format!("{name}: {it}")));
    }

    #[track_caller]
    fn assert_nothing_wrong(&self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

/// Sends a form of the page with these values, also with those that a browser would not let pass.
fn submit(browser: &Browser, action: &str, fields: &[(&str, &str)]) {
    let values = json!(fields);
    browser.run(&format!(
        "const form = document.querySelector('main form[action=\"{action}\"]');
         for (const [name, value] of {values}) {{
           for (const field of form.querySelectorAll(`[name=\"${{name}}\"]`)) {{
             if (field.type === 'checkbox') {{ field.checked = field.value === value; continue; }}
             if (field.matches('input')) field.type = 'text';
             field.value = value;
           }}
         }}
         form.submit()"
    ));
}

/// What axe-core finds wrong with the page.
fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(axe);
    let found = browser.run_and_wait(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((found) => \
         done(found.violations.map((it) => it.id + ': ' + it.nodes.map((node) => node.html + ' ' + node.failureSummary).join('; '))), \
         (error) => done([String(error)]))",
    );
    let found = found.as_array().unwrap().iter();
    found.map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// A measure of the whole page.
fn dots(browser: &Browser, measure: &str) -> u64 {
    let dots = browser.run(&format!("return document.documentElement.{measure}"));
    dots.as_u64().unwrap()
}

/// Whether somebody would have to scroll sideways.
fn too_wide(browser: &Browser, width: u32) -> Option<String> {
    let broad = dots(browser, "scrollWidth");
    (broad > u64::from(width)).then(|| format!("{broad} wide"))
}

fn too_heavy(browser: &Browser) -> Option<String> {
    let html = browser.run("return document.documentElement.outerHTML");
    let html = html.as_str().unwrap().as_bytes();
    let packed = miniz_oxide::deflate::compress_to_vec(html, 6).len();
    (packed > MOST_BYTES).then(|| format!("{} bytes, {packed} compressed", html.len()))
}

/// Links, clicks and a key, for pages to show.
fn furnish(stage: &Stage) {
    let links = [
        json!({"url": "https://shop.example/winter/sale?utm_source=newsletter&utm_campaign=w47", "slug": "winter",
            "title": "Winter sale", "tags": ["shop", "newsletter"]}),
        json!({"url": "https://conference.example/2027/programme.pdf", "slug": "programme", "title": "Programme, print edition",
            "tags": ["print"], "max_clicks": 500}),
        json!({"url": "https://xn--bcher-kva.example/katalog", "slug": "katalog", "title": "Bücherkatalog",
            "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"url": "https://example.com/launch", "slug": "launch", "title": "Launch page", "valid_from": "2090-01-01T00:00:00Z"}),
        json!({"url": "https://docs.example/guide/a-rather-long-path/that-goes-on/and-on/index.html"}),
        json!({"url": "https://example.com/ticket", "slug": "ticket", "title": "One ticket", "max_clicks": 1}),
        json!({"url": "https://example.com/recall", "slug": "recall", "title": "Recalled"}),
    ];
    for link in &links {
        stage.create(link);
    }
    stage.api("PATCH", "/links/recall", &json!({"disabled": true}));
    stage.click("/ticket", "", FIREFOX);
    click_many_times(stage);
    stage.api(
        "POST",
        "/keys",
        &json!({"name": "Newsletter tool", "scopes": ["links:create", "links:read"], "own_links_only": true}),
    );
}

fn click_many_times(stage: &Stage) {
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 \
                 Mobile/15E148 Safari/604.1";
    for number in 0..36 {
        let referrer = [
            "https://news.example/",
            "https://mail.example/",
            "",
            "https://social.example/",
        ][number % 4];
        let agent = [FIREFOX, phone, phone][number % 3];
        let path = if number % 3 == 1 { "/winter?qr" } else { "/winter" };
        stage.click(path, referrer, agent);
    }
    for _ in 0..7 {
        stage.click("/winter", "", "Googlebot/2.1");
    }
}

#[test]
fn every_page_is_for_everybody_light_dark_and_narrow() {
    let stage = Stage::set();
    furnish(&stage);
    let mut gallery = Gallery::of(&stage.browser);
    let before = [
        ("not-found", "/nothing-here"),
        ("gone", "/katalog"),
        ("gone-used-up", "/ticket"),
        ("gone-disabled", "/recall"),
        ("preview", "/programme+"),
        ("front", "/"),
        ("sign-in", "/app/sign-in"),
        ("docs", "/docs"),
    ];
    let after = [
        ("shorten", "/"),
        ("result", "/?made=winter"),
        ("links", "/app"),
        ("found-none", "/app?q=nothing+like+it"),
        ("deleted", "/app?deleted=winter"),
        ("lost", "/app?lost"),
        ("link", "/app/links/winter?span=day"),
        ("link-disabled", "/app/links/recall?saved"),
        ("new", "/app/new"),
        ("edit", "/app/links/winter/edit"),
        ("delete", "/app/links/winter/delete"),
        ("bulk", "/app/bulk"),
        ("keys", "/app/keys"),
        ("forbidden", "/app/links/absent"),
    ];

    for (name, path) in before {
        gallery.visit(name, path);
    }
    stage.sign_in();
    for (name, path) in after {
        gallery.visit(name, path);
    }

    gallery.assert_nothing_wrong();
}

/// What a form comes back with while somebody has no session with a key.
const SIGNING_IN: [Sent<'_>; 1] = [(
    "sign-in-refused",
    "/app/sign-in",
    "/app/sign-in",
    &[("key", "nonsense")],
    "#key-fault",
)];

const OF_ONE_LINK: [Sent<'_>; 8] = [
    (
        "shorten-refused",
        "/",
        "/app/shorten",
        &[("url", "nonsense"), ("slug", "no name")],
        "#url-fault",
    ),
    (
        "shorten-taken",
        "/",
        "/app/shorten",
        &[("url", "example.org"), ("slug", "winter")],
        "#slug-fault",
    ),
    (
        "shorten-stale",
        "/",
        "/app/shorten",
        &[("token", "of-yesterday")],
        ".notice.bad",
    ),
    (
        "new-refused",
        "/app/new",
        "/app/new",
        &[
            ("url", "nonsense"),
            ("valid_from", "soon"),
            ("expires_at", "one day"),
            ("max_clicks", "many"),
            ("cache_seconds", "long"),
        ],
        "#max_clicks-fault",
    ),
    (
        "edit-refused",
        "/app/links/winter/edit",
        "/app/links/winter/edit",
        &[
            (
                "url",
                "ftp://shop.example/a-file-that-has-a-name-which-does-not-fit-on-a-narrow-page",
            ),
            (
                "tags",
                "a-tag-that-is-longer-than-a-tag-may-be-and-has-no-place-to-break-it-apart",
            ),
            ("valid_from", "2090-01-01T00:00:00"),
            ("expires_at", "2080-01-01T00:00:00"),
            ("max_clicks", "0"),
            ("cache_seconds", "-1"),
        ],
        "#max_clicks-fault",
    ),
    (
        "edit-changed",
        "/app/links/winter/edit",
        "/app/links/winter/edit",
        &[
            ("revision", "1"),
            ("shown-title", "Autumn"),
            (
                "shown-tags",
                "a-tag-that-another-person-took-away-and-that-has-no-place-to-break",
            ),
            ("title", "A title of mine"),
        ],
        ".notice.bad li",
    ),
    (
        "delete-changed",
        "/app/links/winter/delete",
        "/app/links/winter/delete",
        &[("revision", "1")],
        ".notice.bad",
    ),
    (
        "delete-stale",
        "/app/links/winter/delete",
        "/app/links/winter/delete",
        &[("token", "of-yesterday")],
        ".notice.bad",
    ),
];

const OF_MANY_LINKS: [Sent<'_>; 4] = [
    (
        "bulk-refused",
        "/app/bulk",
        "/app/bulk",
        &[("lines", " ")],
        "#lines-fault",
    ),
    (
        "bulk-stale",
        "/app/bulk",
        "/app/bulk",
        &[
            ("token", "of-yesterday"),
            ("lines", "https://shop.example/spring"),
        ],
        "#lines-fault",
    ),
    (
        "bulk-some",
        "/app/bulk",
        "/app/bulk",
        &[(
            "lines",
            "https://shop.example/spring\nshop.example/summer?utm_source=newsletter&utm_campaign=w27 summer\n\
             https://shop.example/winter winter\nnonsense\n\
             javascript:alert('a-line-that-is-no-address-and-has-no-place-to-break-it-apart')",
        )],
        "td .fault",
    ),
    (
        "bulk-all",
        "/app/bulk",
        "/app/bulk",
        &[(
            "lines",
            "https://shop.example/autumn autumn\nhttps://shop.example/sale",
        )],
        "tbody",
    ),
];

const OF_KEYS: [Sent<'_>; 3] = [
    (
        "keys-refused",
        "/app/keys",
        "/app/keys",
        &[("name", ""), ("own_links_only", "on")],
        "#scopes-fault",
    ),
    (
        "keys-stale",
        "/app/keys",
        "/app/keys",
        &[("token", "of-yesterday")],
        ".notice.bad",
    ),
    (
        "keys-made",
        "/app/keys",
        "/app/keys",
        &[("name", "Printing office"), ("scopes", "links:create")],
        ".notice code",
    ),
];

#[test]
fn what_a_form_comes_back_with_is_for_everybody_too() {
    let stage = Stage::set();
    furnish(&stage);
    let mut gallery = Gallery::of(&stage.browser);
    let long = "x".repeat(140_000);

    for sent in SIGNING_IN {
        gallery.send(sent);
    }
    gallery.visit("sign-in-without-cookie", "/app/sign-in?opened");
    stage.sign_in();
    for sent in OF_ONE_LINK.into_iter().chain(OF_MANY_LINKS).chain(OF_KEYS) {
        gallery.send(sent);
    }
    gallery.send(("too-long", "/", "/app/shorten", &[("url", &long)], "main.visitor"));

    gallery.assert_nothing_wrong();
}

#[test]
fn a_page_that_has_to_wait_is_for_everybody_too() {
    let switch = Switch::before_postgres();
    let ground = Ground::through(&switch);
    let stage = Stage::set_with(&[("DATABASE_URL", ground.url()), ("MISS_RATE_PER_MINUTE", "1")]);
    let mut gallery = Gallery::of(&stage.browser);

    stage.browser.go("/nothing-here");
    gallery.visit("busy", "/nothing-there");
    let busy = stage.browser.text("h1");
    switch.cut();
    gallery.visit("unavailable", "/?made=absent");
    let unavailable = stage.browser.text("h1");

    assert_eq!(busy, "A little slower, please");
    assert_eq!(unavailable, "Back in a moment");
    gallery.assert_nothing_wrong();
}
