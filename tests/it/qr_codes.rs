//! QR codes, and scans apart from clicks.

use serde_json::json;

use crate::app::{Answer, TestApp};
use crate::clicks_api::settle;
use crate::on_both_stores;

/// The picture as its width and its pixels, `true` for dark ones.
fn picture(answer: &Answer) -> (usize, Vec<bool>) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(&answer.bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.width, info.height);
    (
        info.width as usize,
        pixels.iter().map(|pixel| *pixel == 0).collect(),
    )
}

/// What a reader of QR codes finds in a picture.
fn read(size: usize, dark: &[bool]) -> String {
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(
            size,
            size,
            |x, y| {
                if dark[y * size + x] { 0 } else { 255 }
            },
        );
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}

/// The picture that an SVG of runs draws, `scale` pixels a module.
fn drawn(svg: &str, scale: usize) -> (usize, Vec<bool>) {
    let between = |text: &str, from: &str, to: &str| {
        text.split(from)
            .nth(1)
            .unwrap()
            .split(to)
            .next()
            .unwrap()
            .to_owned()
    };
    let side: usize = between(svg, "viewBox=\"0 0 ", " ").parse().unwrap();
    let path = between(svg, "<path d=\"", "\"");
    let size = side * scale;
    let mut dark = vec![false; size * size];
    for run in path.split_terminator('z') {
        let numbers: Vec<usize> = run
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().unwrap())
            .collect();
        let (x, y, width) = (numbers[0], numbers[1], numbers[2]);
        for row in y * scale..(y + 1) * scale {
            dark[row * size + x * scale..row * size + (x + width) * scale].fill(true);
        }
    }
    (size, dark)
}

on_both_stores! {
    fn a_code_says_the_short_address_and_that_it_was_scanned(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "code"}));
        let said = format!("http://127.0.0.1:{}/code?qr", app.port);

        let (size, dark) = picture(&app.get("/code/qr.png"));
        let (big, dark_and_big) = picture(&app.get("/code/qr.png?size=2048&level=H&margin=16"));
        let svg = app.get("/code/qr.svg?level=Q&margin=0");
        let (drawn_size, drawn_dark) = drawn(&app.get("/code/qr.svg").body, 4);

        assert_eq!((size, big), (512, 2048));
        assert_eq!(read(size, &dark), said);
        assert_eq!(read(big, &dark_and_big), said);
        assert_eq!(read(drawn_size, &drawn_dark), said);
        assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
        assert_eq!(svg.header("cache-control"), Some("public, max-age=86400"));
        assert_eq!(svg.header("set-cookie"), None);
    }

    fn a_client_that_has_the_picture_does_not_get_it_again(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "code"}));
        let ask = |path: &str, tag: &str| app.send("GET", path, &[("if-none-match", tag)], b"");
        let first = app.get("/code/qr.png");
        let tag = first.header("etag").unwrap();

        let again = ask("/code/qr.png", tag);

        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag)));
        assert_eq!(again.header("cache-control"), first.header("cache-control"));
        for other in ["/code/qr.svg", "/code/qr.png?size=64", "/code/qr.png?margin=0", "/code/qr.png?level=H"] {
            assert_eq!(ask(other, tag).status, 200, "{other}");
        }
        app.api("PATCH", "/links/code", Some(&json!({"disabled": true})));
        ask("/code/qr.png", tag).assert_problem(410, "link_gone");
    }

    fn a_code_begins_with_the_base_url(backend) {
        let app = TestApp::start_with(backend, &[("BASE_URL", "https://go.example.com")]);
        app.create(json!({"url": "https://example.org/", "slug": "code"}));

        let (size, dark) = picture(&app.get("/code/qr.png"));

        assert_eq!(read(size, &dark), "https://go.example.com/code?qr");
    }

    fn a_code_that_cannot_be_drawn_says_why(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "code"}));
        app.create(json!({"url": "https://example.org/", "slug": "old", "expires_at": "2026-11-21T01:00:00Z"}));
        let long = "l".repeat(64);
        app.create(json!({"url": "https://example.org/", "slug": long}));
        for query in ["size=63", "size=2049", "margin=17", "level=X", "level=m", "size=big", "colour=red", "size=64&size=65"] {
            let answer = app.get(&format!("/code/qr.png?{query}"));

            answer.assert_problem(400, "malformed_query");
        }
        app.get(&format!("/{long}/qr.png?size=64&margin=16&level=H")).assert_problem(400, "malformed_query");
        app.get("/absent/qr.png").assert_problem(404, "not_found");
        app.get("/code/qr.gif").assert_problem(404, "not_found");
        app.get("/old/qr.svg").assert_problem(410, "link_gone");
        let post = app.send("POST", "/code/qr.svg", &[], b"");
        post.assert_problem(405, "method_not_allowed");
        assert_eq!(post.header("allow"), Some("GET, HEAD"));
    }

    fn a_scan_is_counted_apart_and_its_mark_goes_no_further(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/?a=1", "slug": "code", "forward_query": true}));
        let person = [("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")];
        let go = |path: &str| app.send("GET", path, &person, b"").header("location").unwrap().to_owned();

        let places = [go("/code?qr"), go("/code?b=2&qr"), go("/code"), go("/code?qr=x")];
        app.send("GET", "/code?qr", &[("user-agent", "Googlebot/2.1")], b"");
        app.send("HEAD", "/code?qr", &person, b"");

        assert_eq!(places, ["https://example.org/?a=1", "https://example.org/?a=1&b=2", "https://example.org/?a=1",
            "https://example.org/?a=1&qr=x"]);
        let stats = {
            settle(&app);
            app.api("GET", "/links/code/stats", None).json()
        };
        assert_eq!((&stats["clicks"], &stats["scans"], &stats["bots"]), (&json!(4), &json!(2), &json!(1)));
        let today = stats["series"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(today, json!({"start": "2026-11-21T00:00:00Z", "clicks": 4, "bots": 1, "scans": 2}));
    }

    fn neither_a_code_nor_a_preview_is_a_click(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "one", "max_clicks": 1}));

        for path in ["/one+", "/one/qr.svg", "/one/qr.png", "/one+"] {
            assert_eq!(app.get(path).status, 200, "{path}");
        }

        assert_eq!(app.get("/one").status, 302);
        for path in ["/one", "/one+", "/one/qr.svg"] {
            app.get(path).assert_problem(410, "link_gone");
        }
    }
}
