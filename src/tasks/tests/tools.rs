//! Pages of an inner network, and servers of tools that do not behave.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::mcp::Server;
use super::super::settings::{Mcp, Web};
use super::super::web::Pages;
use super::*;
use crate::domain::ByteSize;
use crate::provider::http;

/// A web server on loopback that answers each path with a redirect, a page or bytes without end; counts who came.
async fn server() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, came) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = vec![0; 2_048];
            let read = socket.read(&mut head).await.unwrap_or(0);
            let path = String::from_utf8_lossy(&head[..read]).split(' ').nth(1).unwrap_or("/").to_owned();
            let port = address.port();
            let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            let page = |kind: &str, body: &str| {
                let length = body.len();
                format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
            };
            let answer = match path.as_str() {
                "/to-metadata" => redirect("http://169.254.169.254/latest/meta-data"),
                "/to-localhost" => redirect(&format!("http://localhost:{port}/page")),
                "/to-ipv6" => redirect(&format!("http://[::ffff:10.0.0.1]:{port}/")),
                "/to-file" => redirect("file:///etc/passwd"),
                "/to-page" => redirect("/page"),
                "/round" => redirect("/round"),
                "/page" => page("text/html; charset=utf-8", "<p>Open <b>daily</b></p><script>no</script>"),
                "/image" => page("image/png", "png"),
                "/long" => page("text/plain", &"x".repeat(100_000)),
                _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    (address, came)
}

fn pages(networks: &[&str]) -> Pages {
    let web = Web {
        enabled: true,
        size: ByteSize::kb(50),
        networks: networks.iter().map(|network| (*network).to_owned()).collect(),
        ..Web::default()
    };
    Pages::new(&web, &http::Settings::default()).unwrap()
}

#[tokio::test]
async fn no_page_of_an_inner_network_is_fetched_however_its_address_is_written() {
    let (address, came) = server().await;
    let (port, public) = (address.port(), pages(&[]));
    for url in [
        format!("http://127.0.0.1:{port}/page"),
        format!("http://localhost:{port}/page"),
        format!("http://127.1:{port}/page"),
        format!("http://2130706433:{port}/page"),
        format!("http://0x7f.0.0.1:{port}/page"),
        format!("http://017700000001:{port}/page"),
        format!("http://0.0.0.0:{port}/page"),
        format!("http://[::1]:{port}/page"),
        format!("http://[::ffff:127.0.0.1]:{port}/page"),
        format!("http://[::ffff:7f00:1]:{port}/page"),
        format!("http://user:word@127.0.0.1:{port}/page"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/".to_owned(),
    ] {
        let refused = public.text(&url).await.unwrap_err();
        assert!(refused.contains("not public") || refused.contains("password"), "{url}: {refused}");
    }
    for url in
        ["file:///etc/passwd", "ftp://1.1.1.1/", "gopher://1.1.1.1/", "http://1.1.1.1:25/", "data:,x", "nonsense", ""]
    {
        assert!(public.text(url).await.is_err(), "{url}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0, "nobody was even connected to");
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_the_first_address_could_not() {
    let (address, _) = server().await;
    let (port, inner) = (address.port(), pages(&["127.0.0.1/32"]));
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    assert_eq!(inner.text(&at("/to-page")).await.unwrap(), format!("http://127.0.0.1:{port}/page\nOpen daily"));
    for (path, why) in [
        ("/to-metadata", "not public"),
        ("/to-ipv6", "not public"),
        ("/to-file", "only http and https"),
        ("/round", "redirects"),
        ("/image", "no text"),
        ("/none", "404"),
    ] {
        let refused = inner.text(&at(path)).await.unwrap_err();
        assert!(refused.contains(why), "{path}: {refused}");
    }
    let long = inner.text(&at("/long")).await.unwrap();
    assert!(long.len() < 52_000 && long.ends_with("[the page goes on]"));
}

#[tokio::test]
async fn a_program_that_is_no_server_of_tools_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("pids");
    let script = format!(
        "sleep 600 & echo $! > {0}; echo $$ >> {0}; echo noise >&2; while read line; do :; done",
        note.display()
    );
    let settings = Mcp {
        name: "mute".into(),
        command: Some("sh".into()),
        args: vec!["-c".into(), script],
        start: crate::domain::Span::ms(700),
        ..Mcp::default()
    };
    let server = Server::new(&settings, &http::Client::new(&http::Settings::default()).unwrap(), None);
    assert!(server.tools().await.unwrap_err().contains("did not answer within"));
    assert!(server.tools().await.unwrap_err().contains("a moment ago"), "it is left alone for a while");
    let pids = std::fs::read_to_string(note).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => true,
            // killed, and not yet collected
            Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        };
        let end = tokio::time::Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(tokio::time::Instant::now() < end, "{pid} still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let missing = Mcp { command: Some("/no/such/program".into()), ..settings };
    let server = Server::new(&missing, &http::Client::new(&http::Settings::default()).unwrap(), None);
    assert!(server.tools().await.unwrap_err().contains("/no/such/program"));
    assert!(server.call("x", Map::new()).await.is_err());
}
