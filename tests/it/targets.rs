//! What a target must be: the contract's rules as a table.

use curtail::domain::{DomainList, TargetPolicy, TargetUrl};

/// The rules of a public service at go.example.com.
fn verdict(text: &str, allow_private: bool) -> Result<String, &'static str> {
    let own = ["go.example.com".to_owned(), "203.0.114.7".to_owned()];
    let blocked: DomainList = "evil.example, BÖSE.example *.phish.co.uk".parse().unwrap();
    let policy = TargetPolicy {
        own_hosts: &own,
        request_host: Some("Short.Example.NET"),
        blocked_domains: Some(&blocked),
        allow_private,
        ..TargetPolicy::default()
    };
    TargetUrl::parse(text, &policy)
        .map(|url| url.as_str().to_owned())
        .map_err(|err| err.code().as_str())
}

/// What is accepted, and how it is stored.
const ACCEPTED: &[(&str, &str)] = &[
    ("https://example.org/", "https://example.org/"),
    ("https://example.org", "https://example.org/"),
    ("http://example.org/a/b?c=d#e", "http://example.org/a/b?c=d#e"),
    ("HTTPS://EXAMPLE.ORG/Path", "https://example.org/Path"),
    ("hTtP://eXample.org", "http://example.org/"),
    ("https://example.org:443/", "https://example.org/"),
    ("http://example.org:80/", "http://example.org/"),
    ("https://example.org:8443/", "https://example.org:8443/"),
    ("http://example.org:443/", "http://example.org:443/"),
    ("https://example.org:/", "https://example.org/"),
    ("https://example.org?x=1", "https://example.org/?x=1"),
    ("https://example.org#top", "https://example.org/#top"),
    ("https://example.org/?", "https://example.org/?"),
    ("https://example.org/#", "https://example.org/#"),
    (
        "https://sub.domain.example.org/",
        "https://sub.domain.example.org/",
    ),
    ("https://example.museum/", "https://example.museum/"),
    ("https://a.b.c.d.e.f.example/", "https://a.b.c.d.e.f.example/"),
    ("https://1.example/", "https://1.example/"),
    ("https://ex-ample.org/", "https://ex-ample.org/"),
    ("https://ex_ample.example.org/", "https://ex_ample.example.org/"),
    // The parser reads what browsers read; what is stored is what was meant.
    ("https:example.org", "https://example.org/"),
    ("https:/example.org", "https://example.org/"),
    ("https:///example.org", "https://example.org/"),
    ("https:\\\\example.org\\a", "https://example.org/a"),
    ("https://example.org\\a\\b", "https://example.org/a/b"),
    (" https://example.org/ ", "https://example.org/"),
    ("https://example.org/a b", "https://example.org/a%20b"),
    ("https://example.org/\"<>", "https://example.org/%22%3C%3E"),
    (
        "https://example.org/?q=\"<>'",
        "https://example.org/?q=%22%3C%3E%27",
    ),
    (
        "https://example.org/%0d%0aSet-Cookie:x",
        "https://example.org/%0d%0aSet-Cookie:x",
    ),
    ("https://example.org/%00", "https://example.org/%00"),
    ("https://example.org/%", "https://example.org/%"),
    ("https://example.org/%zz", "https://example.org/%zz"),
    ("https://example.org/a/../b", "https://example.org/b"),
    ("https://example.org/a/./b", "https://example.org/a/b"),
    ("https://example.org/a/%2e%2e/b", "https://example.org/b"),
    ("https://example.org/../../x", "https://example.org/x"),
    ("https://example.org//double", "https://example.org//double"),
    ("https://example.org/+plus+", "https://example.org/+plus+"),
    ("https://example.org/?a=1&a=2&b", "https://example.org/?a=1&a=2&b"),
    (
        "https://example.org/?u=https://x.example/",
        "https://example.org/?u=https://x.example/",
    ),
    ("https://example.org/a@b", "https://example.org/a@b"),
    ("https://example.org/?a@b", "https://example.org/?a@b"),
    ("https://example.org/#a@b", "https://example.org/#a@b"),
    ("https://@example.org/", "https://example.org/"),
    ("https://example.org/(paren)", "https://example.org/(paren)"),
    ("https://example.org/{brace}", "https://example.org/%7Bbrace%7D"),
    ("https://example.org/|", "https://example.org/|"),
    ("https://example.org/~user", "https://example.org/~user"),
    ("https://example.org/;p=1", "https://example.org/;p=1"),
    // International names are stored as punycode, paths as UTF-8 in percent.
    ("https://münchen.example/", "https://xn--mnchen-3ya.example/"),
    ("https://MÜNCHEN.example/", "https://xn--mnchen-3ya.example/"),
    (
        "https://xn--mnchen-3ya.example/",
        "https://xn--mnchen-3ya.example/",
    ),
    ("https://例え.テスト/", "https://xn--r8jz45g.xn--zckzah/"),
    (
        "https://пример.example/путь",
        "https://xn--e1afmkfd.example/%D0%BF%D1%83%D1%82%D1%8C",
    ),
    ("https://faß.example/", "https://xn--fa-hia.example/"),
    (
        "https://example.org/ü?ü#ü",
        "https://example.org/%C3%BC?%C3%BC#%C3%BC",
    ),
    ("https://example.org/😀", "https://example.org/%F0%9F%98%80"),
    ("https://ｅｘａｍｐｌｅ.org/", "https://example.org/"),
    ("https://example。org/", "https://example.org/"),
    ("https://ex%61mple.org/", "https://example.org/"),
    // White space and what is invisible goes from both ends.
    ("https://example.org/\n", "https://example.org/"),
    ("\thttps://example.org/", "https://example.org/"),
    ("https://example.org/\u{85}", "https://example.org/"),
    ("\u{feff}https://example.org/zw\u{200b}", "https://example.org/zw"),
    ("\u{a0}https://example.org/\u{2060}\r\n", "https://example.org/"),
    // An absolute name has a dot at its end.
    ("https://example.com./a", "https://example.com./a"),
    ("https://example.com.:8443/a", "https://example.com.:8443/a"),
    ("https://https.example/", "https://https.example/"),
    // Public addresses.
    ("http://8.8.8.8/", "http://8.8.8.8/"),
    ("http://1.1.1.1:8080/", "http://1.1.1.1:8080/"),
    ("http://134744072/", "http://8.8.8.8/"),
    ("http://0x08.0x08.8.8/", "http://8.8.8.8/"),
    ("http://8.8.2056/", "http://8.8.8.8/"),
    ("http://172.15.255.255/", "http://172.15.255.255/"),
    ("http://172.32.0.1/", "http://172.32.0.1/"),
    ("http://100.63.255.255/", "http://100.63.255.255/"),
    ("http://100.128.0.1/", "http://100.128.0.1/"),
    ("http://198.17.0.1/", "http://198.17.0.1/"),
    ("http://198.20.0.1/", "http://198.20.0.1/"),
    ("http://169.253.1.1/", "http://169.253.1.1/"),
    ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
    (
        "http://[2606:4700:0:0::1111]:8080/",
        "http://[2606:4700::1111]:8080/",
    ),
    ("http://[::ffff:8.8.8.8]/", "http://[::ffff:808:808]/"),
    ("http://[64:ff9b::808:808]/", "http://[64:ff9b::808:808]/"),
    ("http://[2002:808:808::]/", "http://[2002:808:808::]/"),
    // Names that only look like forbidden ones.
    ("https://notevil.example/", "https://notevil.example/"),
    ("https://evil.example.org/", "https://evil.example.org/"),
    ("https://ogo.example.com/", "https://ogo.example.com/"),
    (
        "https://go.example.com.example.org/",
        "https://go.example.com.example.org/",
    ),
    ("https://sub.go.example.com/", "https://sub.go.example.com/"),
    ("https://localhost.example.org/", "https://localhost.example.org/"),
    ("https://mylocal/", "https://mylocal/"),
    ("https://internal.example.org/", "https://internal.example.org/"),
];

/// What is refused, and the code that says why.
const REFUSED: &[(&str, &str)] = &[
    ("", "invalid_url"),
    (" ", "invalid_url"),
    ("example.org", "invalid_url"),
    ("/path", "invalid_url"),
    ("//example.org/", "invalid_url"),
    ("?q", "invalid_url"),
    ("#f", "invalid_url"),
    ("http", "invalid_url"),
    ("http:", "invalid_url"),
    ("http://", "invalid_url"),
    ("https:///", "invalid_url"),
    ("http://?q", "invalid_url"),
    ("http://#f", "invalid_url"),
    ("http://:80/", "invalid_url"),
    ("http://exa mple.org/", "invalid_url"),
    ("http://exa<mple.org/", "invalid_url"),
    ("http://example.org:99999/", "invalid_url"),
    ("http://example.org:port/", "invalid_url"),
    ("http://[::1/", "invalid_url"),
    ("http://[g::1]/", "invalid_url"),
    ("http://[1::2::3]/", "invalid_url"),
    ("http://256.256.256.256/", "invalid_url"),
    ("http://1.2.3.4.5/", "invalid_url"),
    ("http://4294967296/", "invalid_url"),
    ("http://0x100000000/", "invalid_url"),
    ("http://%zz/", "invalid_url"),
    ("http://exa%00mple.org/", "invalid_url"),
    ("http://xn--a/", "invalid_url"),
    ("://example.org", "invalid_url"),
    ("1http://example.org", "invalid_url"),
    // Control characters are refused, not silently removed.
    ("https://example.org/\r\nSet-Cookie: a=b", "invalid_url"),
    ("https://exam\tple.org/", "invalid_url"),
    ("https://example.org/\0", "invalid_url"),
    ("https://example.org/\u{1b}[31m", "invalid_url"),
    ("https://example.org/\u{7f}", "invalid_url"),
    ("https://example.org/\u{80}", "invalid_url"),
    ("https://example.org/\u{9f}", "invalid_url"),
    ("java\nscript:alert(1)", "invalid_url"),
    // Schemes.
    ("javascript:alert(1)", "scheme_not_allowed"),
    ("JaVaScRiPt:alert(1)", "scheme_not_allowed"),
    (" javascript:alert(1)", "scheme_not_allowed"),
    ("javascript://example.org/%0aalert(1)", "scheme_not_allowed"),
    ("data:text/html,<script>alert(1)</script>", "scheme_not_allowed"),
    ("vbscript:msgbox", "scheme_not_allowed"),
    ("file:///etc/passwd", "scheme_not_allowed"),
    ("blob:https://example.org/x", "scheme_not_allowed"),
    ("ftp://example.org/", "scheme_not_allowed"),
    ("ws://example.org/", "scheme_not_allowed"),
    ("wss://example.org/", "scheme_not_allowed"),
    ("mailto:a@example.org", "scheme_not_allowed"),
    ("tel:+123", "scheme_not_allowed"),
    ("about:blank", "scheme_not_allowed"),
    ("intent://example.org/", "scheme_not_allowed"),
    ("urn:isbn:1", "scheme_not_allowed"),
    ("localhost:8080", "scheme_not_allowed"),
    ("httpss://example.org/", "scheme_not_allowed"),
    ("view-source:https://example.org/", "scheme_not_allowed"),
    // User information.
    ("https://user@example.org/", "userinfo_not_allowed"),
    ("https://user:password@example.org/", "userinfo_not_allowed"),
    ("https://:password@example.org/", "userinfo_not_allowed"),
    ("https://example.org@evil.test/", "userinfo_not_allowed"),
    ("https://example.org:443@evil.test/", "userinfo_not_allowed"),
    ("https://a%40b@example.org/", "userinfo_not_allowed"),
    // Hosts that are malformed although the parser lets them pass.
    ("http://a..b/", "host_not_allowed"),
    ("http://./", "host_not_allowed"),
    ("http://../", "host_not_allowed"),
    ("http://.example.org/", "host_not_allowed"),
    ("http://localhost./", "host_not_allowed"),
    ("http://127.0.0.1./", "host_not_allowed"),
    ("https://go.example.com./", "own_host"),
    ("https://a.EVIL.example./", "blocked_domain"),
    // Two schemes in a row: the second one would be the host.
    ("https://https://example.org/x", "invalid_url"),
    ("http://http://example.org/x", "invalid_url"),
    ("https://HTTP//example.org/", "invalid_url"),
    ("http://http/x", "invalid_url"),
    ("https://https:8443/", "invalid_url"),
    ("https://https./", "invalid_url"),
    ("http://example.org../", "host_not_allowed"),
    // Private addresses, in every spelling.
    ("http://127.0.0.1/", "host_not_allowed"),
    ("http://127.1/", "host_not_allowed"),
    ("http://127.0.1/", "host_not_allowed"),
    ("http://2130706433/", "host_not_allowed"),
    ("http://0x7f000001/", "host_not_allowed"),
    ("http://0x7f.1/", "host_not_allowed"),
    ("http://0177.0.0.1/", "host_not_allowed"),
    ("http://127.255.255.254/", "host_not_allowed"),
    ("http://１２７.０.０.１/", "host_not_allowed"),
    ("http://127。0。0。1/", "host_not_allowed"),
    ("http://%31%32%37.0.0.1/", "host_not_allowed"),
    ("http://0/", "host_not_allowed"),
    ("http://0.0.0.0/", "host_not_allowed"),
    ("http://0.1.2.3/", "host_not_allowed"),
    ("http://10.0.0.1/", "host_not_allowed"),
    ("http://10.255.255.255/", "host_not_allowed"),
    ("http://172.16.0.1/", "host_not_allowed"),
    ("http://172.31.255.255/", "host_not_allowed"),
    ("http://192.168.0.1/", "host_not_allowed"),
    ("http://3232235521/", "host_not_allowed"),
    ("http://169.254.169.254/latest/meta-data/", "host_not_allowed"),
    ("http://0xa9fea9fe/", "host_not_allowed"),
    ("http://100.64.0.1/", "host_not_allowed"),
    ("http://100.127.255.255/", "host_not_allowed"),
    ("http://100.100.100.200/", "host_not_allowed"),
    ("http://168.63.129.16/", "host_not_allowed"),
    ("http://192.0.0.192/", "host_not_allowed"),
    ("http://192.0.2.1/", "host_not_allowed"),
    ("http://198.18.0.1/", "host_not_allowed"),
    ("http://198.19.255.255/", "host_not_allowed"),
    ("http://198.51.100.1/", "host_not_allowed"),
    ("http://203.0.113.1/", "host_not_allowed"),
    ("http://224.0.0.1/", "host_not_allowed"),
    ("http://239.255.255.255/", "host_not_allowed"),
    ("http://240.0.0.1/", "host_not_allowed"),
    ("http://255.255.255.255/", "host_not_allowed"),
    ("http://[::]/", "host_not_allowed"),
    ("http://[::1]/", "host_not_allowed"),
    ("http://[0:0:0:0:0:0:0:1]/", "host_not_allowed"),
    ("http://[::127.0.0.1]/", "host_not_allowed"),
    ("http://[::ffff:127.0.0.1]/", "host_not_allowed"),
    ("http://[::ffff:7f00:1]/", "host_not_allowed"),
    ("http://[::ffff:169.254.169.254]/", "host_not_allowed"),
    ("http://[::ffff:0:10.0.0.1]/", "host_not_allowed"),
    ("http://[64:ff9b::7f00:1]/", "host_not_allowed"),
    ("http://[64:ff9b:1::1]/", "host_not_allowed"),
    ("http://[2002:7f00:1::]/", "host_not_allowed"),
    ("http://[2002:a9fe:a9fe::]/", "host_not_allowed"),
    ("http://[2001:0:1::]/", "host_not_allowed"),
    ("http://[2001:db8::1]/", "host_not_allowed"),
    ("http://[3fff::1]/", "host_not_allowed"),
    ("http://[100::1]/", "host_not_allowed"),
    ("http://[fc00::1]/", "host_not_allowed"),
    ("http://[fd00:ec2::254]/", "host_not_allowed"),
    ("http://[fe80::1]/", "host_not_allowed"),
    ("http://[fec0::1]/", "host_not_allowed"),
    ("http://[ff02::1]/", "host_not_allowed"),
    ("http://localhost/", "host_not_allowed"),
    ("http://LOCALHOST:3000/", "host_not_allowed"),
    ("http://app.localhost/", "host_not_allowed"),
    ("http://printer.local/", "host_not_allowed"),
    ("http://localhost.localdomain/", "host_not_allowed"),
    (
        "http://metadata.google.internal/computeMetadata/v1/",
        "host_not_allowed",
    ),
    ("http://metadata/", "host_not_allowed"),
    ("http://db.internal/", "host_not_allowed"),
    ("http://svc.cluster.local/", "host_not_allowed"),
    ("http://router.home.arpa/", "host_not_allowed"),
    ("http://ｌｏｃａｌｈｏｓｔ/", "host_not_allowed"),
    // The service itself.
    ("https://go.example.com/", "own_host"),
    ("http://GO.example.com:8080/abc", "own_host"),
    ("https:go.example.com", "own_host"),
    ("https://short.example.net/x", "own_host"),
    ("http://203.0.114.7/", "own_host"),
    ("http://0xcb007207/", "own_host"),
    // The deny-list, by suffix.
    ("https://evil.example/", "blocked_domain"),
    ("https://EVIL.example/", "blocked_domain"),
    ("https://a.b.evil.example/", "blocked_domain"),
    ("https://böse.example/", "blocked_domain"),
    ("https://xn--bse-sna.example/", "blocked_domain"),
    ("https://www.phish.co.uk/login", "blocked_domain"),
];

#[test]
fn every_accepted_target_is_stored_in_its_one_spelling() {
    let wrong: Vec<_> = ACCEPTED
        .iter()
        .filter(|(text, stored)| verdict(text, false).as_deref() != Ok(stored))
        .map(|(text, stored)| format!("{text:?}: {:?}, not {stored:?}", verdict(text, false)))
        .collect();

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_refused_target_says_why() {
    let wrong: Vec<_> = REFUSED
        .iter()
        .filter(|(text, code)| verdict(text, false) != Err(code))
        .map(|(text, code)| format!("{text:?}: {:?}, not {code:?}", verdict(text, false)))
        .collect();

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ACCEPTED.len() + REFUSED.len() >= 150);
}

#[test]
fn what_is_stored_is_accepted_again_and_stays_the_same() {
    for (_, stored) in ACCEPTED {
        assert_eq!(verdict(stored, false).as_deref(), Ok(*stored));
        assert_eq!(TargetUrl::from_stored(stored).unwrap().as_str(), *stored);
    }
}

#[test]
fn a_private_network_may_be_allowed_but_not_a_loop() {
    assert_eq!(
        verdict("http://10.0.0.1/", true).as_deref(),
        Ok("http://10.0.0.1/")
    );
    assert_eq!(
        verdict("http://localhost:3000/", true).as_deref(),
        Ok("http://localhost:3000/")
    );

    assert_eq!(verdict("http://go.example.com/", true), Err("own_host"));
    assert_eq!(verdict("http://a..b/", true), Err("host_not_allowed"));
}

/// An address of 724 bytes was refused with a bound of 2,048: percent-encoded it has more, and nothing said so.
#[test]
fn a_target_is_measured_once_it_is_serialised() {
    let longest = format!("https://example.org/{}", "a".repeat(8192 - 20));
    let grows = format!("https://example.org/{}", "ü".repeat(1500));
    let shrinks = format!("https://example.org/{}x", "../".repeat(5000));

    assert_eq!(longest.len(), 8192);
    assert_eq!(verdict(&longest, false).as_deref(), Ok(longest.as_str()));
    assert_eq!(verdict(&format!("{longest}a"), false), Err("too_long"));
    assert!(grows.len() < 8192);
    assert_eq!(verdict(&grows, false), Err("too_long"));
    assert_eq!(verdict(&shrinks, false).as_deref(), Ok("https://example.org/x"));
    let error = TargetUrl::parse(&grows, &TargetPolicy::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a target has at most 8192 bytes, and this one has 9020 once percent-encoded"
    );
}

#[test]
fn a_policy_allows_more_but_never_more_than_is_kept() {
    let parse = |length: usize, max_length: usize| {
        let text = format!("https://example.org/{}", "a".repeat(length - 20));
        let policy = TargetPolicy {
            max_length,
            ..TargetPolicy::default()
        };
        TargetUrl::parse(&text, &policy).map(|target| target.as_str().len())
    };

    assert_eq!(parse(32_768, 32_768), Ok(32_768));
    assert!(parse(32_769, usize::MAX).is_err());
    assert!(parse(257, 256).is_err());
}

#[test]
fn a_poisoned_store_cannot_send_a_visitor_to_a_script() {
    for text in [
        "javascript:alert(1)",
        "data:text/html,x",
        "",
        "https",
        "//example.org",
        "https://a\r\nb",
        "https://a b",
    ] {
        assert!(TargetUrl::from_stored(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_visitors_query_is_appended_before_the_fragment() {
    let with = |target: &str, query: &str| TargetUrl::from_stored(target).unwrap().with_query(query);

    assert_eq!(with("https://example.org/", "a=1"), "https://example.org/?a=1");
    assert_eq!(
        with("https://example.org/?x=2", "a=1"),
        "https://example.org/?x=2&a=1"
    );
    assert_eq!(
        with("https://example.org/#f", "a=1"),
        "https://example.org/?a=1#f"
    );
    assert_eq!(
        with("https://example.org/?x#f?g", "a=1"),
        "https://example.org/?x&a=1#f?g"
    );
    assert_eq!(with("https://example.org/", ""), "https://example.org/");
    assert_eq!(
        with("https://example.org/", "a=\r\n<ü"),
        "https://example.org/?a=%0D%0A%3C%C3%BC"
    );
    assert_eq!(
        with("https://example.org/", "a=%20+b"),
        "https://example.org/?a=%20+b"
    );
}
