//! Envelopes as protobuf (`voxgate.v1.Envelope`): the same messages as in JSON, the same domain values.
//!
//! Free-form values (capabilities, arguments, results) travel as JSON text: small devices have no use for a
//! tree of protobuf values.

use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

use super::super::WireError;
use super::proto::{self as pb, envelope::Payload};
use super::{Head, numbered, short_id};
use crate::domain::{
    AckMarks, Control, ControlKind, DOWN_FRAME_MS, DOWN_RATE, Downlink, HapticPattern, Hello, HelloAck, ImageId,
    ListenMode, Message, SessionId, StopReason, Stream, TurnId,
};

/// Reads what a device says.
pub(super) fn decode_up(bytes: &[u8]) -> Result<Control, WireError> {
    let envelope = read(bytes)?;
    let mut session_id = short_id(envelope.session_id, "session_id")?;
    let payload = envelope.payload.ok_or_else(WireError::unknown_type)?;
    if let (None, Payload::Hello(hello)) = (&session_id, &payload) {
        session_id = short_id(hello.session_id.clone(), "session_id")?;
    }
    Ok(Control {
        session_id,
        seq: numbered(envelope.seq),
        ts_ms: envelope.ts,
        msg_id: short_id(envelope.msg_id, "msg_id")?,
        json: false,
        kind: up(payload)?,
    })
}

fn read(bytes: &[u8]) -> Result<pb::Envelope, WireError> {
    // prost's own text can name fields only, but is of no use to anybody
    pb::Envelope::decode(bytes).map_err(|_| WireError::malformed("the envelope is neither json nor protobuf"))
}

fn up(payload: Payload) -> Result<ControlKind, WireError> {
    Ok(match payload {
        Payload::Hello(hello) => ControlKind::Hello(Hello {
            boot_id: hello.boot_id,
            capabilities: free(&hello.capabilities, "capabilities")?,
            last_recv_seq: hello.last_recv_seq,
            version: None,
            oldest_seq: hello.oldest_seq.map(|m| from_marks(&m).collect()).unwrap_or_default(),
        }),
        Payload::Heartbeat(_) => ControlKind::Heartbeat,
        Payload::ListenStart(start) => {
            ControlKind::ListenStart { mode: mode(start.mode).ok_or_else(|| WireError::malformed("mode"))?, n: start.n }
        }
        Payload::ListenStop(_) => ControlKind::ListenStop,
        Payload::Abort(abort) => ControlKind::Abort { reason: abort.reason },
        Payload::Text(text) => ControlKind::Text(text.text),
        Payload::Played(played) => ControlKind::Played(TurnId(played.turn_id)),
        Payload::Ack(ack) => ControlKind::Ack(ack.seq.ok_or_else(|| WireError::malformed("seq"))?),
        Payload::Sos(sos) => {
            let kind = if sos.kind.is_empty() { "unspecified".to_owned() } else { sos.kind };
            ControlKind::Sos { kind, text: sos.text }
        }
        Payload::ToolResult(r) => ControlKind::ToolResult {
            operation_id: r.operation_id,
            success: r.success.unwrap_or(r.error.is_none()),
            result: free(&r.result, "result")?,
            error: r.error,
        },
        Payload::Image(note) => ControlKind::ImageNote {
            image_id: ImageId(note.image_id),
            keep: match pb::ImageMode::try_from(note.mode) {
                Ok(mode) => mode == pb::ImageMode::Keep,
                Err(_) => return Err(WireError::malformed("mode")),
            },
            question: note.question,
        },
        Payload::Goodbye(_) => ControlKind::Goodbye,
        _ => return Err(WireError::unknown_type()),
    })
}

/// Writes what a device says.
pub(super) fn encode_up(head: Head<'_>, kind: &ControlKind) -> Bytes {
    let payload = match kind {
        ControlKind::Hello(hello) => Payload::Hello(pb::Hello {
            boot_id: hello.boot_id,
            session_id: None,
            capabilities: text(&hello.capabilities),
            last_recv_seq: hello.last_recv_seq,
            oldest_seq: (!hello.oldest_seq.is_empty())
                .then(|| to_marks(|stream| hello.oldest_seq.get(&stream).copied())),
        }),
        ControlKind::Heartbeat => Payload::Heartbeat(pb::Empty {}),
        ControlKind::ListenStart { mode, n } => Payload::ListenStart(pb::ListenStart {
            mode: match mode {
                None => pb::ListenMode::Unspecified,
                Some(ListenMode::Auto) => pb::ListenMode::Auto,
                Some(ListenMode::Manual) => pb::ListenMode::Manual,
                Some(ListenMode::Realtime) => pb::ListenMode::Realtime,
            }
            .into(),
            n: *n,
        }),
        ControlKind::ListenStop => Payload::ListenStop(pb::Empty {}),
        ControlKind::Abort { reason } => Payload::Abort(pb::Abort { reason: reason.clone() }),
        ControlKind::Text(text) => Payload::Text(pb::Text { text: text.clone() }),
        ControlKind::Played(turn) => Payload::Played(pb::Played { turn_id: turn.0 }),
        ControlKind::Ack(seq) => Payload::Ack(pb::Ack { seq: Some(*seq), ..pb::Ack::default() }),
        ControlKind::Sos { kind, text } => Payload::Sos(pb::Sos { kind: kind.clone(), text: text.clone() }),
        ControlKind::ToolResult { operation_id, success, result, error } => Payload::ToolResult(pb::ToolResult {
            operation_id: operation_id.clone(),
            success: Some(*success),
            result: text(result),
            error: error.clone(),
        }),
        ControlKind::ImageNote { image_id, question, keep } => Payload::Image(pb::ImageNote {
            image_id: image_id.0,
            question: question.clone(),
            mode: (if *keep { pb::ImageMode::Keep } else { pb::ImageMode::Ask }).into(),
            ts: None,
        }),
        ControlKind::Goodbye => Payload::Goodbye(pb::Empty {}),
        // other dialects' words have no place here; in JSON the gateway refuses them by name
        ControlKind::Wake { .. }
        | ControlKind::Mcp(_)
        | ControlKind::Things(_)
        | ControlKind::Said(_)
        | ControlKind::Errand { .. }
        | ControlKind::Partial(_)
        | ControlKind::Telemetry(_)
        | ControlKind::Photo { .. }
        | ControlKind::Fault(_) => {
            return super::envelope_json::encode_up(head, kind);
        }
    };
    write(head, payload)
}

/// Writes what a device shall get.
pub(super) fn encode_down(head: Head<'_>, message: &Message) -> Option<Bytes> {
    Some(write(head, down(message)?))
}

fn write(head: Head<'_>, payload: Payload) -> Bytes {
    let envelope = pb::Envelope {
        session_id: head.session_id.map(str::to_owned),
        seq: head.seq,
        ts: head.ts,
        msg_id: head.msg_id.map(str::to_owned),
        want_ack: head.want_ack,
        payload: Some(payload),
    };
    envelope.encode_to_vec().into()
}

/// None: the dialect has no such message.
fn down(message: &Message) -> Option<Payload> {
    Some(match message {
        Message::HelloAck(ack) => Payload::HelloAck(write_hello_ack(ack)),
        Message::Ack { stream, seq, image_id, sha256 } => Payload::Ack(pb::Ack {
            stream: to_stream(*stream).into(),
            seq: *seq,
            image_id: image_id.map(|i| i.0),
            sha256: sha256.clone(),
        }),
        Message::ImageMissing { image_id, parts } => {
            let range = |(from, to): &(u16, u16)| pb::PartRange { from: (*from).into(), to: (*to).into() };
            Payload::ImageMissing(pb::ImageMissing { image_id: image_id.0, parts: parts.iter().map(range).collect() })
        }
        Message::Stt { text, is_final } => Payload::Stt(pb::Stt { text: text.clone(), r#final: *is_final }),
        Message::Reply { text } => Payload::Reply(pb::Reply { text: text.clone() }),
        Message::TtsStart { turn_id, .. } => Payload::TtsStart(pb::TtsStart { turn_id: turn_id.0 }),
        Message::TtsSentence { text, .. } => Payload::TtsSentence(pb::TtsSentence { text: text.clone() }),
        Message::TtsStop { turn_id, reason } => {
            Payload::TtsStop(pb::TtsStop { turn_id: turn_id.0, reason: to_reason(*reason).into() })
        }
        Message::Emotion { name } => Payload::Emotion(pb::Emotion { name: name.clone() }),
        Message::Haptic { pattern, times } => {
            Payload::Haptic(pb::Haptic { pattern: to_pattern(*pattern).into(), times: *times })
        }
        Message::Reboot => Payload::Reboot(pb::Empty {}),
        Message::ToolCall { operation_id, name, arguments } => Payload::ToolCall(pb::ToolCall {
            operation_id: operation_id.clone(),
            name: name.clone(),
            arguments: text(arguments),
        }),
        Message::SetConfig { config } => Payload::SetConfig(pb::SetConfig { config: text(config) }),
        Message::OtaPlan { plan } => Payload::OtaPlan(pb::OtaPlan { plan: text(plan) }),
        Message::TaskUpdate { task } => Payload::TaskUpdate(pb::TaskUpdate { task: text(task) }),
        Message::Alert { level, text, .. } => Payload::Alert(pb::Alert { level: level.clone(), text: text.clone() }),
        Message::Error { code, message } => Payload::Error(pb::Error { code: code.clone(), message: message.clone() }),
        Message::Close { reason } => Payload::Close(pb::Close { reason: reason.clone() }),
        Message::Mcp(_) | Message::ThingCommand { .. } => return None,
    })
}

fn write_hello_ack(ack: &HelloAck) -> pb::HelloAck {
    let marks = ack.ack;
    pb::HelloAck {
        session_id: ack.session_id.as_str().to_owned(),
        resumed: ack.resumed,
        boot: ack.boot,
        time: ack.time,
        ack: Some(to_marks(|stream| match stream {
            Stream::Control => Some(marks.control),
            Stream::Audio => Some(marks.audio),
            Stream::Telemetry => Some(marks.telemetry),
            Stream::Image => Some(marks.image),
        })),
        down_seq: ack.down_seq,
        max: Some(pb::Limits { packet: ack.max_packet, image: ack.max_image, in_flight: ack.max_in_flight }),
        heartbeat_s: ack.heartbeat_s,
        audio: Some(pb::AudioFormat { codec: "opus".to_owned(), sample_rate: DOWN_RATE, frame_ms: DOWN_FRAME_MS }),
    }
}

/// Reads what a device got.
pub(super) fn decode_down(bytes: &[u8]) -> Result<Downlink, WireError> {
    let envelope = read(bytes)?;
    Ok(Downlink::Control {
        session: envelope.session_id.as_deref().map(session).transpose()?,
        seq: envelope.seq,
        ts_ms: envelope.ts.unwrap_or(0),
        msg_id: short_id(envelope.msg_id, "msg_id")?,
        want_ack: envelope.want_ack,
        json: false,
        message: message(envelope.payload.ok_or_else(WireError::unknown_type)?)?,
    })
}

fn message(payload: Payload) -> Result<Message, WireError> {
    Ok(match payload {
        Payload::HelloAck(ack) => Message::HelloAck(Box::new(read_hello_ack(&ack)?)),
        Payload::Ack(ack) => Message::Ack {
            stream: from_stream(ack.stream).ok_or_else(|| WireError::malformed("stream"))?,
            seq: ack.seq,
            image_id: ack.image_id.map(ImageId),
            sha256: ack.sha256,
        },
        Payload::ImageMissing(missing) => {
            let range = |r: &pb::PartRange| Some((u16::try_from(r.from).ok()?, u16::try_from(r.to).ok()?));
            let parts = missing.parts.iter().map(range).collect::<Option<_>>();
            Message::ImageMissing {
                image_id: ImageId(missing.image_id),
                parts: parts.ok_or_else(|| WireError::malformed("parts"))?,
            }
        }
        Payload::Stt(stt) => Message::Stt { text: stt.text, is_final: stt.r#final },
        Payload::Reply(reply) => Message::Reply { text: reply.text },
        Payload::TtsStart(start) => {
            Message::TtsStart { turn_id: TurnId(start.turn_id), text: String::new(), device_speaks: false }
        }
        Payload::TtsSentence(sentence) => Message::TtsSentence { text: sentence.text, device_speaks: false },
        Payload::TtsStop(stop) => Message::TtsStop {
            turn_id: TurnId(stop.turn_id),
            reason: from_reason(stop.reason).ok_or_else(|| WireError::malformed("reason"))?,
        },
        Payload::Emotion(emotion) => Message::Emotion { name: emotion.name },
        Payload::Haptic(haptic) => Message::Haptic {
            pattern: from_pattern(haptic.pattern).ok_or_else(|| WireError::malformed("pattern"))?,
            times: haptic.times,
        },
        Payload::Reboot(_) => Message::Reboot,
        Payload::ToolCall(call) => Message::ToolCall {
            operation_id: call.operation_id,
            name: call.name,
            arguments: free(&call.arguments, "arguments")?,
        },
        Payload::SetConfig(set) => Message::SetConfig { config: free(&set.config, "config")? },
        Payload::OtaPlan(ota) => Message::OtaPlan { plan: free(&ota.plan, "plan")? },
        Payload::TaskUpdate(update) => Message::TaskUpdate { task: free(&update.task, "task")? },
        Payload::Alert(alert) => Message::Alert { level: alert.level, text: alert.text, status: None, emotion: None },
        Payload::Error(error) => Message::Error { code: error.code, message: error.message },
        Payload::Close(close) => Message::Close { reason: close.reason },
        _ => return Err(WireError::unknown_type()),
    })
}

fn read_hello_ack(ack: &pb::HelloAck) -> Result<HelloAck, WireError> {
    let marks = ack.ack.unwrap_or_default();
    let max = ack.max.unwrap_or_default();
    Ok(HelloAck {
        session_id: session(&ack.session_id)?,
        resumed: ack.resumed,
        boot: ack.boot,
        time: ack.time,
        ack: AckMarks {
            control: marks.control.unwrap_or(0),
            audio: marks.audio.unwrap_or(0),
            telemetry: marks.telemetry.unwrap_or(0),
            image: marks.image.unwrap_or(0),
        },
        down_seq: ack.down_seq,
        max_packet: max.packet,
        max_image: max.image,
        max_in_flight: max.in_flight,
        heartbeat_s: ack.heartbeat_s,
        number: None,
        protocol: None,
        media: None,
    })
}

fn session(text: &str) -> Result<SessionId, WireError> {
    SessionId::parse(text).map_err(|_| WireError::malformed("session_id"))
}

/// Free-form JSON as text; empty is null.
fn free(text: &str, what: &'static str) -> Result<Value, WireError> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|e| WireError::json(what, &e))
}

fn text(value: &Value) -> String {
    if value.is_null() { String::new() } else { value.to_string() }
}

fn to_marks(of: impl Fn(Stream) -> Option<u32>) -> pb::Marks {
    pb::Marks {
        control: of(Stream::Control),
        audio: of(Stream::Audio),
        telemetry: of(Stream::Telemetry),
        image: of(Stream::Image),
    }
}

fn from_marks(marks: &pb::Marks) -> impl Iterator<Item = (Stream, u32)> + use<> {
    let by_stream = [marks.control, marks.audio, marks.telemetry, marks.image];
    Stream::ALL.into_iter().zip(by_stream).filter_map(|(stream, seq)| Some((stream, seq?)))
}

/// The outer option: a number that is no mode; the inner one: the session's mode stays.
#[allow(clippy::option_option, reason = "two different absences, one call site")]
fn mode(mode: i32) -> Option<Option<ListenMode>> {
    Some(match pb::ListenMode::try_from(mode).ok()? {
        pb::ListenMode::Unspecified => None,
        pb::ListenMode::Auto => Some(ListenMode::Auto),
        pb::ListenMode::Manual => Some(ListenMode::Manual),
        pb::ListenMode::Realtime => Some(ListenMode::Realtime),
    })
}

fn to_stream(stream: Stream) -> pb::Stream {
    match stream {
        Stream::Control => pb::Stream::Control,
        Stream::Audio => pb::Stream::Audio,
        Stream::Telemetry => pb::Stream::Telemetry,
        Stream::Image => pb::Stream::Image,
    }
}

fn from_stream(stream: i32) -> Option<Stream> {
    Stream::ALL.into_iter().find(|s| i32::from(to_stream(*s)) == stream)
}

fn to_reason(reason: StopReason) -> pb::StopReason {
    match reason {
        StopReason::Done => pb::StopReason::Done,
        StopReason::Abort => pb::StopReason::Abort,
        StopReason::BargeIn => pb::StopReason::BargeIn,
        StopReason::LinkLost => pb::StopReason::LinkLost,
        StopReason::Error => pb::StopReason::Error,
        StopReason::Closed => pb::StopReason::Closed,
    }
}

fn from_reason(reason: i32) -> Option<StopReason> {
    Some(match pb::StopReason::try_from(reason).ok()? {
        pb::StopReason::Done => StopReason::Done,
        pb::StopReason::Abort => StopReason::Abort,
        pb::StopReason::BargeIn => StopReason::BargeIn,
        pb::StopReason::LinkLost => StopReason::LinkLost,
        pb::StopReason::Error => StopReason::Error,
        pb::StopReason::Closed => StopReason::Closed,
    })
}

fn to_pattern(pattern: HapticPattern) -> pb::HapticPattern {
    match pattern {
        HapticPattern::Short => pb::HapticPattern::Short,
        HapticPattern::Long => pb::HapticPattern::Long,
        HapticPattern::Double => pb::HapticPattern::Double,
        HapticPattern::Sos => pb::HapticPattern::Sos,
    }
}

fn from_pattern(pattern: i32) -> Option<HapticPattern> {
    Some(match pb::HapticPattern::try_from(pattern).ok()? {
        pb::HapticPattern::Short => HapticPattern::Short,
        pb::HapticPattern::Long => HapticPattern::Long,
        pb::HapticPattern::Double => HapticPattern::Double,
        pb::HapticPattern::Sos => HapticPattern::Sos,
    })
}
