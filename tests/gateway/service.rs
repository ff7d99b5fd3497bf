//! A chat service over HTTP, as a provider of words is.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves as long as the test's runtime is there. `answer` gives the one piece of an answer (`{"content": …}`,
/// `{"tool_calls": …}`) to the body of a request; none is never answered.
pub async fn chat_service(answer: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answer) = (listener.local_addr().unwrap(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { serve(socket, &*answer).await });
        }
    });
    address
}

async fn serve(mut socket: TcpStream, answer: &(impl Fn(&str) -> Option<Value> + Send + Sync)) {
    let mut request = Vec::new();
    let body = loop {
        if let Some(body) = whole(&request) {
            break body;
        }
        if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let Some(delta) = answer(&body) else { return std::future::pending().await };
    let piece = json!({"choices": [{"delta": delta, "finish_reason": null}]});
    let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let text = format!("data: {piece}\n\ndata: {end}\n\ndata: [DONE]\n\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    // a gateway that was killed reads nothing
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
}

fn whole(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
    (body.len() >= length).then(|| body.to_owned())
}
