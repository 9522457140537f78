//! The page, as far as that can be told without a browser.

use blip2_server::Settings;

use crate::client::{Served, demo};

#[test]
fn the_page_asks_nobody_else() {
    let served = Served::start(demo(), Settings::default());
    let page = served.get("/");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let mut parts = vec![page.text.clone()];
    for path in ["/page.js", "/page.css"] {
        let part = served.get(path);
        assert_eq!(part.status, 200);
        parts.push(part.text);
    }
    for part in parts {
        assert!(
            !part.contains("//cdn") && !part.contains("https://"),
            "{part}"
        );
        // What the policy forbids would not work.
        assert!(!part.contains("onclick=") && !part.contains("style=\""));
    }
    for named in page.text.split("src=\"").skip(1) {
        let path = named.split('"').next().unwrap();
        assert_eq!(served.get(&format!("/{path}")).status, 200, "{path}");
    }
    served
        .get("/examples/..%2fpage.js")
        .error(404, "nothing here");
}

#[test]
fn it_can_be_left_out() {
    let served = Served::start(demo(), Settings::default().with_page(false));
    served.get("/").error(404, "nothing here");
}
