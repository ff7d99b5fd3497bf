//! Deepgram's speech to text.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use voxgate::provider::deepgram::{DeepgramTranscriber, headers};
use voxgate::provider::http::{Client, Settings};
use voxgate::provider::{ErrorKind, ProviderError, Transcriber, Transcript, Utterance};

use crate::scripted::{Act, KEY, patience, plain, send, serve};
use crate::target;

/// What a scripted service does; it hears the utterance first, unless the script says otherwise.
#[derive(Clone)]
enum Say {
    /// Does not wait for the end of the utterance.
    Early,
    Text(String),
    Close(u16, &'static str),
    Wait(u64),
    Hang,
    /// The connection is gone, without a word.
    Drop,
}

/// What a scripted service heard: the address, the headers, the bytes of sound, and the number of pieces.
type Asked = (String, String, Vec<u8>, usize);

async fn listen(script: Vec<Say>) -> (String, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1", listener.local_addr().unwrap());
    let (heard, asked) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(converse(socket, script.clone(), heard.clone()));
        }
    });
    (url, asked)
}

/// The same behind TLS, for one connection; the authority is a file in `folder`.
async fn listen_tls(script: Vec<Say>, folder: &Path) -> (String, Receiver<Asked>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    // as the service does: a client that took HTTP/2 could not go on as a WebSocket
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/v1", listener.local_addr().unwrap().port());
    let (heard, asked) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        if let Ok(socket) = acceptor.accept(socket).await {
            converse(socket, script, heard).await;
        }
    });
    (url, asked)
}

/// Plays the script on one connection.
async fn converse<S>(socket: S, script: Vec<Say>, heard: Sender<Asked>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut uri, mut head) = (String::new(), String::new());
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let note = |request: &Request, response: Response| {
        uri = request.uri().to_string();
        head = format!("{:?}", request.headers());
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(socket, note).await.unwrap();
    let (mut sound, mut pieces) = (Vec::new(), 0);
    while !matches!(script.first(), Some(Say::Early)) {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                assert!(!bytes.is_empty(), "an empty piece closes the stream");
                sound.extend_from_slice(&bytes);
                pieces += 1;
            }
            Some(Ok(Message::Text(text))) => {
                assert_eq!(text.as_str(), "{\"type\":\"CloseStream\"}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let _ = heard.send((uri, head, sound, pieces)).await;
    for say in script {
        match say {
            Say::Early => {}
            Say::Text(text) => {
                let _ = socket.send(Message::text(text)).await;
            }
            Say::Close(code, reason) => {
                let frame = CloseFrame { code: code.into(), reason: reason.into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
            Say::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Say::Hang => std::future::pending().await,
            Say::Drop => return,
        }
    }
}

fn result(text: &str, is_final: bool) -> Say {
    let alternative = json!({ "transcript": text, "confidence": 0.98, "words": [], "languages": ["en", "es"] });
    Say::Text(
        json!({ "type": "Results", "channel_index": [0, 1], "duration": 1.5, "start": 0.0, "is_final": is_final,
            "speech_final": is_final, "channel": { "alternatives": [alternative] }, "from_finalize": false })
        .to_string(),
    )
}

fn summary() -> Say {
    Say::Text(json!({ "type": "Metadata", "request_id": "x", "duration": 1.5, "channels": 1 }).to_string())
}

fn message(value: &Value) -> Say {
    Say::Text(value.to_string())
}

fn ears(url: &str) -> DeepgramTranscriber {
    DeepgramTranscriber::new(target(url, headers(Some(KEY)), "nova-test"))
}

fn utterance(samples: usize) -> Utterance {
    Utterance { pcm: vec![258; samples].into(), language: Some("en-GB".into()), ..Utterance::default() }
}

async fn heard_at(url: &str, samples: usize) -> Result<Transcript, ProviderError> {
    let heard = ears(url).transcribe(utterance(samples)).await;
    if let Err(error) = &heard {
        assert!(!error.to_string().contains(KEY) && !format!("{error:?}").contains(KEY), "{error}");
    }
    heard
}

async fn hear(script: Vec<Say>) -> Result<Transcript, ProviderError> {
    let (url, _asked) = listen(script).await;
    heard_at(&url, 4_000).await
}

#[tokio::test]
async fn an_utterance_goes_out_in_pieces_and_what_is_final_comes_back() {
    let script = vec![
        result("turn", false),
        result("Turn on", true),
        result("", true),
        Say::Wait(50),
        message(&json!({ "type": "SpeechStarted", "timestamp": 0.1 })),
        result("the lamp.", true),
        summary(),
        Say::Close(1000, ""),
    ];
    let (url, mut asked) = listen(script).await;
    let transcriber = ears(&url);
    assert!(!format!("{transcriber:?}").contains(KEY));
    let heard = transcriber.transcribe(utterance(4_000)).await.unwrap();
    assert_eq!(heard, Transcript { text: "Turn on the lamp.".into(), language: Some("en".into()), stood_in: false });
    let (uri, head, sound, pieces) = asked.recv().await.unwrap();
    let expected = "/v1/listen?encoding=linear16&sample_rate=16000&channels=1&interim_results=false&smart_format=true\
                    &model=nova-test&language=en-GB";
    assert_eq!(uri, expected);
    assert!(head.contains(&format!("\"authorization\": \"Token {KEY}\"")), "{head}");
    assert_eq!((sound.len(), pieces, &sound[..4]), (8_000, 3, &[2, 1, 2, 1][..]));
}

#[tokio::test]
async fn a_stream_is_opened_over_tls_with_the_authorities_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let (url, mut asked) = listen_tls(vec![result("Turn on the lamp.", true), summary()], folder.path()).await;
    let settings = Settings { ca_files: vec![folder.path().join("ca.pem")], ..Settings::default() };
    let mut target = target(&url, headers(Some(KEY)), "nova-test");
    target.client = Client::with_keys(&settings).unwrap();
    let heard = DeepgramTranscriber::new(target).transcribe(utterance(4_000)).await.unwrap();
    assert_eq!(heard.text, "Turn on the lamp.");
    assert_eq!(asked.recv().await.unwrap().2.len(), 8_000);

    let (url, _asked) = listen_tls(vec![summary()], folder.path()).await;
    assert_eq!(heard_at(&url, 4_000).await.unwrap_err().kind, ErrorKind::Unavailable, "nobody vouches for it");
}

#[tokio::test]
async fn an_utterance_without_words_is_an_empty_transcript() {
    assert_eq!(hear(vec![result("", true), summary()]).await, Ok(Transcript::default()));
    let (url, _asked) = listen(vec![summary()]).await;
    assert_eq!(heard_at(&url, 0).await, Ok(Transcript::default()), "nothing was said");
}

#[tokio::test]
async fn a_language_that_is_written_without_spaces_stays_so() {
    let heard = hear(vec![result("打开灯，", true), result("谢谢", true), summary()]).await.unwrap();
    assert_eq!(heard.text, "打开灯，谢谢");
}

#[tokio::test]
async fn a_transcript_that_is_cut_is_none() {
    let error = hear(vec![result("Turn on", true), Say::Drop]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let error = hear(vec![Say::Early, Say::Drop]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "while it was sent: {error}");
    let error = hear(vec![result("Turn on", true), Say::Close(1000, "")]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "closed politely, and without the summary: {error}");
}

#[tokio::test]
async fn a_stream_that_the_service_closes_says_why_even_while_it_is_sent() {
    for (code, reason, kind) in [
        (1011, "NET-0000", ErrorKind::Unavailable),
        (1011, "NET-0001", ErrorKind::Unavailable),
        (1008, "DATA-0000", ErrorKind::BadRequest),
        (1011, "oops", ErrorKind::Internal),
        (1012, "", ErrorKind::Unavailable),
    ] {
        let (url, _asked) = listen(vec![Say::Early, Say::Close(code, reason)]).await;
        // a minute: more than the buffers between the two hold
        let error = heard_at(&url, 960_000).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(&format!("{code} {reason}").trim_end().to_owned()), "{error}");
    }
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_none_repeats_the_key() {
    let body = |code: &str, text: &str| json!({ "err_code": code, "err_msg": text, "request_id": "x" }).to_string();
    let refused = async |act: Act| {
        let (url, _requests) = serve(vec![act]).await;
        heard_at(&url, 4_000).await.unwrap_err()
    };
    let quoted = body("INVALID_AUTH", &format!("Invalid credentials: {KEY}"));
    let error = refused(plain("401 Unauthorized", "", &quoted)).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unauthorized, "status 401: Invalid credentials: ***"));
    let many = body("TOO_MANY_REQUESTS", "too many");
    let error = refused(plain("429 Too Many Requests", "retry-after: 17\r\n", &many)).await;
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(17))));
    let bad = body("Bad Request", "no such model");
    assert_eq!(refused(plain("400 Bad Request", "", &bad)).await.kind, ErrorKind::BadRequest);
    assert_eq!(refused(plain("500 Internal Server Error", "", "")).await.kind, ErrorKind::Internal);
    assert_eq!(refused(plain("200 OK", "", "hello")).await.kind, ErrorKind::BadAnswer, "no WebSocket");
    let claims = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                  sec-websocket-accept: bm8=\r\n\r\n";
    assert_eq!(refused(send(claims)).await.kind, ErrorKind::BadAnswer, "an answer to another key");
    assert_eq!(refused(send("SSH-2.0-OpenSSH\r\n")).await.kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_is_no_answer_is_said_to_be_none() {
    for garbage in ["", "no json", "7", "{}", "{\"type\":\"Results\"}"] {
        let error = hear(vec![Say::Text(garbage.into())]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadAnswer, "{garbage:?}: {error}");
    }
    let error = json!({ "type": "Error", "description": "it broke", "message": "m", "variant": "v" });
    let error = hear(vec![message(&error)]).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Internal, "it broke"));
    let endless: Vec<Say> = (0..40).map(|_| result(&"word ".repeat(1_000), true)).collect();
    assert_eq!(hear(endless).await.unwrap_err().kind, ErrorKind::BadAnswer, "longer than anybody speaks");
}

#[tokio::test]
async fn silence_ends_with_a_timeout_that_says_what_was_awaited() {
    let (url, _requests) = serve(vec![Act::Hang]).await;
    let error = heard_at(&url, 4_000).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no answer within 300ms"), "no handshake");
    let error = hear(vec![Say::Hang]).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no answer within 300ms"));
    let error = hear(vec![result("Turn", true), Say::Hang]).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no next piece within 300ms"));
    let mut drip = Vec::new();
    for _ in 0..60 {
        drip.extend([result(".", true), Say::Wait(100)]);
    }
    let error = hear(drip).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no end of the answer within 3s"));
    assert_eq!(patience().whole, Duration::from_secs(3));
}
