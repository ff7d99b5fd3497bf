//! Transcripts of OpenAI-compatible services: files that are sent, and answers that come in pieces.

use serde_json::json;
use voxgate::provider::http::Headers;
use voxgate::provider::openai::OpenAiTranscriber;
use voxgate::provider::{ErrorKind, ProviderError, Transcriber, Transcript, Utterance};

use crate::scripted::{Act, KEY, SSE, plain, send, serve};
use crate::{target, workers};

fn ears(url: &str) -> OpenAiTranscriber {
    OpenAiTranscriber::new(target(url, Headers::new().bearer(KEY), "m"))
}

fn utterance() -> Utterance {
    Utterance { pcm: vec![500; 32_000].into(), language: Some("en-GB".into()), ..Utterance::default() }
}

async fn hear(script: Vec<Act>) -> Result<Transcript, ProviderError> {
    let (url, _requests) = serve(script).await;
    ears(&url).streaming().transcribe(utterance()).await
}

fn delta(text: &str) -> String {
    format!("data: {}\n\n", json!({ "type": "transcript.text.delta", "delta": text }))
}

fn done(text: &str) -> String {
    let usage = json!({ "type": "tokens", "total_tokens": 20 });
    format!("event: x\ndata: {}\n\n", json!({ "type": "transcript.text.done", "text": text, "usage": usage }))
}

#[tokio::test]
async fn an_utterance_goes_out_as_ogg_where_that_is_asked_for() {
    let (url, mut requests) = serve(vec![plain("200 OK", "", "{\"text\":\" Hello. \"}")]).await;
    for (ears, name, begins) in
        [(ears(&url), "speech.wav", "RIFF"), (ears(&url).with_ogg(workers()), "speech.ogg", "OggS")]
    {
        assert_eq!(ears.transcribe(utterance()).await.unwrap().text, "Hello.");
        let request = requests.recv().await.unwrap();
        let text = String::from_utf8_lossy(&request);
        assert!(text.contains(&format!("filename=\"{name}\"")) && !text.contains("name=\"stream\""), "{name}");
        assert!(text.contains(&format!("\r\n\r\n{begins}")), "{name}");
        assert_eq!(request.len() > 64_000, name == "speech.wav", "{} bytes", request.len());
    }
}

#[tokio::test]
async fn a_transcript_in_pieces_is_whole_wherever_a_character_is_cut() {
    let all = delta("Grüß") + ": ping\n\n" + &delta(" 好") + &done(" Grüß 好. ") + "data: [DONE]\n\n";
    let mut script = vec![send(SSE)];
    for piece in all.as_bytes().chunks(3) {
        script.extend([send(piece), Act::Wait(1)]);
    }
    assert_eq!(hear(script).await.unwrap().text, "Grüß 好.");
    let kept = hear(vec![send(SSE), send(delta("Turn ") + &delta("on.") + "data: [DONE]\n\n")]).await;
    assert_eq!(kept.unwrap().text, "Turn on.", "no last event");
    let vllm = |text| {
        format!(
            "data: {}\n\n",
            json!({ "object": "transcription.chunk", "choices": [{ "delta": { "content": text } }] })
        )
    };
    let usage = format!("data: {}\n\n", json!({ "object": "transcription.chunk", "choices": [], "usage": {} }));
    let kept = hear(vec![send(SSE), send(vllm(" Turn") + &vllm(" on.") + &usage + "data: [DONE]\n\n")]).await;
    assert_eq!(kept.unwrap().text, "Turn on.", "in vLLM's form");
    let unended = done("Hi.").trim_end().to_owned();
    assert_eq!(hear(vec![send(SSE), send(unended)]).await.unwrap().text, "Hi.");
}

#[tokio::test]
async fn a_request_asks_for_pieces_and_takes_an_answer_in_one() {
    let body = "\r\n{\"text\":\"Hello.\",\"language\":\"en\"}";
    let (url, mut requests) = serve(vec![plain("200 OK", "", body)]).await;
    let heard = ears(&url).streaming().transcribe(utterance()).await.unwrap();
    assert_eq!(heard, Transcript { text: "Hello.".into(), language: Some("en".into()), stood_in: false });
    let request = String::from_utf8_lossy(&requests.recv().await.unwrap()).into_owned();
    assert!(request.contains("name=\"stream\"\r\n\r\ntrue\r\n"), "{request}");
}

#[tokio::test]
async fn a_service_that_does_not_know_pieces_is_asked_again_without_and_never_with_them_again() {
    let refusal = json!({ "error": { "message": "Unknown parameter: 'stream'.", "type": "invalid_request_error" } });
    let (url, mut requests) = serve(vec![plain("400 Bad Request", "", &refusal.to_string())]).await;
    let ears = ears(&url).streaming();
    for _ in 0..2 {
        let error = ears.transcribe(utterance()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest, "this service refuses whatever it is asked");
    }
    let mut streams = Vec::new();
    while let Ok(request) = requests.try_recv() {
        streams.push(String::from_utf8_lossy(&request).contains("name=\"stream\""));
    }
    assert_eq!(streams, [true, false, false]);
    let other = json!({ "error": { "message": "the file is too short" } }).to_string();
    let (url, mut requests) = serve(vec![plain("400 Bad Request", "", &other)]).await;
    ears_fail(&url).await;
    assert!(requests.recv().await.is_some() && requests.try_recv().is_err(), "asked once");
}

async fn ears_fail(url: &str) {
    assert!(ears(url).streaming().transcribe(utterance()).await.is_err());
}

#[tokio::test]
async fn a_transcript_that_is_cut_garbled_or_refused_is_none() {
    let kind = async |script| hear(script).await.unwrap_err().kind;
    assert_eq!(kind(vec![send(SSE), send(delta("Turn"))]).await, ErrorKind::Unavailable, "between two events");
    assert_eq!(kind(vec![send(SSE), send(delta("Turn") + "data: {\"typ")]).await, ErrorKind::BadAnswer, "within one");
    assert_eq!(kind(vec![send(SSE)]).await, ErrorKind::BadAnswer);
    for garbage in ["data: {\"x\":1}\n\n", "data: no json\n\n", "<html>\n\n"] {
        assert!(matches!(kind(vec![send(SSE), send(garbage)]).await, ErrorKind::BadAnswer | ErrorKind::Unavailable));
    }
    assert_eq!(kind(vec![send(SSE), send(b"data: \xff\xff\n\n")]).await, ErrorKind::BadAnswer);
    let error =
        format!("data: {}\n\n", json!({ "type": "error", "error": { "message": "m", "code": "rate_limit_exceeded" } }));
    assert_eq!(kind(vec![send(SSE), send(delta("Turn") + &error)]).await, ErrorKind::RateLimited);
    let endless = delta(&"word ".repeat(1_000)).repeat(20);
    assert_eq!(kind(vec![send(SSE), send(endless)]).await, ErrorKind::BadAnswer, "longer than anybody speaks");
    assert_eq!(kind(vec![plain("401 Unauthorized", "", "{}")]).await, ErrorKind::Unauthorized);
    assert_eq!(kind(vec![plain("500 Internal Server Error", "", "stream")]).await, ErrorKind::Internal);
    let (url, _requests) = serve(vec![plain("429 Too Many Requests", "retry-after: 17\r\n", "")]).await;
    let error = ears(&url).transcribe(utterance()).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after.map(|after| after.as_secs())), (ErrorKind::RateLimited, Some(17)));
}

#[tokio::test]
async fn silence_ends_with_a_timeout() {
    assert_eq!(hear(vec![Act::Hang]).await.unwrap_err().message, "no answer within 300ms");
    let error = hear(vec![send(SSE), send(delta("Turn")), Act::Hang]).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no next piece within 300ms"));
}
