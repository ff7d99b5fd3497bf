//! The page's files, as they stand in `page/`, and what a browser is told about them: nothing of another host, nothing
//! inline, no frame around it, nothing kept.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::super::Routes;

/// Where the page is.
pub const PATH: &str = "/talk";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, type, text.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 10] = [
    (PATH, HTML, include_str!("page/index.html")),
    ("/talk/", HTML, include_str!("page/index.html")),
    ("/talk/style.css", STYLE, include_str!("page/style.css")),
    ("/talk/main.js", SCRIPT, include_str!("page/main.js")),
    ("/talk/line.js", SCRIPT, include_str!("page/line.js")),
    ("/talk/sound.js", SCRIPT, include_str!("page/sound.js")),
    ("/talk/worklet.js", SCRIPT, include_str!("page/worklet.js")),
    ("/talk/view.js", SCRIPT, include_str!("page/view.js")),
    ("/talk/face.js", SCRIPT, include_str!("page/face.js")),
    ("/talk/able.js", SCRIPT, include_str!("page/able.js")),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// One route a file.
pub(super) fn routes() -> Routes {
    FILES.into_iter().fold(Routes::new(), |routes, file| routes.route(file.0, get(move || async move { answer(file) })))
}

fn answer((_, kind, text): File) -> Response {
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_nothing_inline_and_nothing_of_another_host() {
        for (path, _, text) in FILES {
            for no in [
                "http://",
                "https://",
                "<style",
                "style=\"",
                "onclick=",
                "javascript:",
                "eval(",
                "innerHTML",
                "@import",
            ] {
                let found = text.matches(no).count();
                assert_eq!(found, 0, "{path} has {no}");
            }
            let inline = text.matches("<script").count() - text.matches("<script type=\"module\" src=\"/talk/").count();
            assert_eq!(inline, 0, "{path} has a script inline");
        }
    }
}
