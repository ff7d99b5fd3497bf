//! A headless Chromium, driven over its DevTools WebSocket: the few of its methods that the tests need.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::PATIENCE;

/// How often a page is looked at.
const LOOK: Duration = Duration::from_millis(25);
const PROGRAMS: [&str; 2] = ["chromium", "chromium-browser"];

/// The browser that is installed; says when none is.
pub fn installed() -> Option<&'static str> {
    let there = |program: &&&str| {
        let mut asked = std::process::Command::new(program);
        asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let program = PROGRAMS.iter().find(there).copied();
    if program.is_none() {
        println!("skipped: chromium is not installed (Debian package chromium)");
    }
    program
}

/// A browser with one page. Its processes and its folder go with it.
pub struct Browser {
    line: WebSocketStream<MaybeTlsStream<TcpStream>>,
    page: Option<String>,
    asked: u64,
    _child: Child,
    _dir: TempDir,
}

impl Browser {
    /// Starts one whose microphone plays a WAV file, once, from when it is opened.
    pub async fn start(program: &str, microphone: &Path) -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(program);
        command
            .args(["--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--disable-gpu", "--no-first-run"])
            .args(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--disable-extensions"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--autoplay-policy=no-user-gesture-required", "--host-resolver-rules=MAP gateway.test 127.0.0.1"])
            .arg(format!("--use-file-for-fake-audio-capture={}%noloop", microphone.display()))
            .arg(format!("--user-data-dir={}", dir.path().display()))
            .arg("about:blank");
        let spawned = command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = spawned.unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("chromium ended");
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    break url.to_owned();
                }
            }
        };
        let url = timeout(PATIENCE, listening).await.expect("chromium does not listen");
        // a full pipe would stop it
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (line, _) = connect_async(url).await.unwrap();
        let mut browser = Self { line, page: None, asked: 0, _child: child, _dir: dir };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.page = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser
    }

    /// Calls a method of the protocol; its answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut request = json!({"id": self.asked, "method": method, "params": params});
        if let Some(page) = &self.page {
            request["sessionId"] = json!(page);
        }
        self.line.send(Message::text(request.to_string())).await.unwrap();
        let answered = async {
            loop {
                let message = self.line.next().await.expect("chromium is gone").unwrap();
                let Ok(text) = message.to_text() else { continue };
                let Ok(mut answer) = serde_json::from_str::<Value>(text) else { continue };
                if answer["id"] == json!(self.asked) {
                    assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                    return answer["result"].take();
                }
            }
        };
        timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{method} is not answered"))
    }

    /// Opens an address.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
    }

    /// The value of a JavaScript expression.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true; while it cannot be evaluated (the page is on its way) it is not.
    pub async fn until(&mut self, expression: &str) {
        let begun = tokio::time::Instant::now();
        let attempt = format!("(() => {{ try {{ return !!({expression}); }} catch {{ return false; }} }})()");
        while self.eval(&attempt).await != json!(true) {
            if begun.elapsed() > PATIENCE {
                let page = self.eval("document.body.dataset.state + ' ' + document.body.innerText").await;
                panic!("{expression} does not come true: {page}");
            }
            sleep(LOOK).await;
        }
    }

    /// What is written in an element.
    pub async fn text(&mut self, selector: &str) -> String {
        let found = self.eval(&format!("document.querySelector({selector:?})?.textContent ?? ''")).await;
        found.as_str().unwrap_or_default().to_owned()
    }

    /// Presses the main button of the mouse down (`mousePressed`) or up (`mouseReleased`) over an element.
    pub async fn mouse(&mut self, kind: &str, selector: &str) {
        let place = format!(
            "(() => {{ const r = document.querySelector({selector:?}).getBoundingClientRect(); \
             return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        let at = self.eval(&place).await;
        let params = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
        self.call("Input.dispatchMouseEvent", params).await;
    }

    /// A click.
    pub async fn click(&mut self, selector: &str) {
        self.mouse("mousePressed", selector).await;
        self.mouse("mouseReleased", selector).await;
    }

    /// Types into what has the focus.
    pub async fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Keeps pictures of the page, as a desk and as a phone shows it, when `VOXGATE_SCREENSHOTS` names a folder.
    pub async fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("VOXGATE_SCREENSHOTS") else { return };
        for (kind, width, height, scheme) in [("desk", 1_280, 800, "light"), ("phone", 390, 780, "dark")] {
            let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            self.call("Emulation.setEmulatedMedia", feature).await;
            let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
            self.call("Emulation.setDeviceMetricsOverride", size).await;
            // the level's canvas is drawn anew
            sleep(4 * LOOK).await;
            let shot = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
            let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
            std::fs::write(Path::new(&folder).join(format!("{name}-{kind}.png")), bytes).unwrap();
        }
        self.call("Emulation.clearDeviceMetricsOverride", json!({})).await;
        self.call("Emulation.setEmulatedMedia", json!({"features": []})).await;
    }
}
