//! A household moves from xiaozhi-esp32-server: read, tried, done, done again, and its boards come in.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use voxgate::admin::{Admin, Client};
use voxgate::domain::DeviceId;
use voxgate::sim::device::{Device, Login};

use gateway::{PATIENCE, Running, binary, chat, config};

const NUMBER: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
const OTHER: &str = "11111111-8b86-4011-b42d-00cf4fc964ff";
const SECRETS: [&str; 6] =
    ["sk-llm-secret", "sk-tts-secret", "gsk-asr-secret", "weather-secret", "hush-hush-secret", "takes her tea"];

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(name).display().to_string()
}

/// A configuration without a gateway, or of one that runs.
struct Bench {
    dir: TempDir,
    config: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let config = binary::config(dir.path(), &dir.path().join("data"), "");
        Self { dir, config }
    }

    fn of(gateway: &Running) -> Self {
        let (dir, running) = (TempDir::new().unwrap(), gateway.config());
        let config = dir.path().join("voxgate.toml");
        let (data, socket) = (running.gateway.data_dir.display(), running.control.socket.display());
        let text = format!("[gateway]\ndata_dir = \"{data}\"\n[control]\nsocket = \"{socket}\"\n");
        fs::write(&config, text).unwrap();
        Self { dir, config }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn run(&self, args: &[&str]) -> Output {
        binary::voxgate(&self.config, &[&["import", "xiaozhi-server"], args].concat()).output().unwrap()
    }

    fn devices(&self) -> Value {
        let listed = binary::voxgate(&self.config, &["device", "list", "--json"]).output().unwrap();
        serde_json::from_slice(&listed.stdout).unwrap()
    }
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    for secret in SECRETS {
        assert!(!out.contains(secret) && !err.contains(secret), "{secret} was shown");
    }
    (out, err)
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// The piece, on top of what tests need, must be a configuration.
fn holds(piece: &str) {
    let problems = voxgate::config::parse("piece", piece).err().map(|error| error.to_string());
    assert_eq!(problems, None, "{piece}");
}

#[test]
fn a_dump_is_tried_first_done_by_each_device_and_done_again_without_doubles() {
    let bench = Bench::new();
    let dump = data("console.sql");
    let tried = bench.run(&["--dump", &dump]);
    let (out, err) = said(&tried);
    assert_eq!(tried.status.code(), Some(1), "three devices are none: {err}");
    contains(
        &out,
        &[
            "device f4:12:fa:00:00:01 (Kitchen; mum's, Butler): would be expected for 7d\n",
            "device f4:12:fa:00:00:02 (Butler): would be expected",
            "device f4:12:fa:00:00:03 (Hall, 小助手): would be expected",
            "agent Butler: 2 devices, instructions of 47 bytes, memory of 32 bytes\n",
            "LLM BigLLM (openai): becomes [providers.chat]; its key goes to a file with --keys FOLDER\n",
            "VLLM EyeVLLM (openai): becomes [vision], without a key\n",
            "ASR FunASR (fun_local): a local model: leave [providers.stt] out",
            "end_prompt: the farewell is a sentence",
            "Memory mem_local_short: what it knew",
            "3 devices would be expected, 0 there already; nothing was done: --apply does it\n",
        ],
    );
    contains(
        &err,
        &[
            "console.sql:27: device f4:12:fa:00:00:03: is there twice",
            "console.sql:28: device not a mac: is no MAC",
            "console.sql:28: a device without mac_address: bind it anew",
            "console.sql:62: LLM OddLLM: its config_json is no JSON",
        ],
    );
    assert_eq!(bench.devices().as_array().unwrap().len(), 0);

    let keys = bench.dir.path().join("keys");
    let apply = ["--dump", &dump, "--keys", keys.to_str().unwrap(), "--apply"];
    let (_, err) = said(&bench.run(&apply));
    contains(&err, &["there is no such folder"]);
    assert_eq!(bench.devices().as_array().unwrap().len(), 0, "without its keys nothing is begun");
    fs::create_dir(&keys).unwrap();
    let (out, _) = said(&bench.run(&apply));
    contains(&out, &["3 devices expected, 0 there already\n"]);
    assert_eq!(fs::read_to_string(keys.join("chat.key")).unwrap(), "sk-llm-secret\n");
    assert_eq!(fs::read_to_string(keys.join("tts.key")).unwrap(), "sk-tts-secret\n");
    let devices = bench.devices();
    let names: Vec<&str> =
        devices.as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap_or("-")).collect();
    assert_eq!(names, ["Kitchen; mum's", "-", "Hall"]);
    let own = |key: &str| devices.as_array().unwrap().iter().map(|device| device[key].clone()).collect::<Vec<_>>();
    assert_eq!(own("language"), ["en-US", "en-US", "zh"]);
    assert_eq!(own("voice"), [Value::from("nova"), Value::from("nova"), Value::Null], "no voice of another service");
    assert_eq!(own("prompt"), [true; 3]);
    assert!(own("expected").iter().all(Value::is_u64));
    let listed = binary::voxgate(&bench.config, &["device", "list"]).output().unwrap();
    contains(&String::from_utf8(listed.stdout).unwrap(), &["f4:12:fa:00:00:03  Hall            -     expected"]);

    let report = bench.run(&[&apply[..], &["--json"]].concat());
    said(&report);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let outcomes: Vec<&Value> = report["devices"].as_array().unwrap().iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes[..3], ["there"; 3]);
    assert!(outcomes[3]["refused"].is_string(), "{outcomes:?}");
    assert_eq!(bench.devices().as_array().unwrap().len(), 3);
    let piece = report["settings"].as_str().unwrap();
    holds(piece);
    let piece: toml::Table = toml::from_str(piece).unwrap();
    let xiaozhi = &piece["session"]["xiaozhi"];
    assert_eq!((xiaozhi["idle"].as_str(), xiaozhi["greeting"].as_str()), (Some("90s"), Some("")));
    assert_eq!(xiaozhi["exit_words"][1].as_str(), Some("关闭"));
    assert_eq!(
        piece["voice"]["reply"]["system_prompt"].as_str(),
        Some("You are Butler.\nSay \"sir\" -- and nothing; else.")
    );
    assert_eq!(piece["voice"]["reply"]["apology"].as_str(), Some("Sorry, I'm busy."));
    assert_eq!(piece["voice"]["endpoint"]["silence"].as_str(), Some("700ms"));
    assert_eq!(piece["providers"]["chat"]["url"].as_str(), Some("https://llm.example/v4"));
    assert_eq!(piece["providers"]["tts"]["url"].as_str(), Some("http://tts.example:8880/v1"));
    assert!(piece["vision"].get("api_key_file").is_none());
}

#[test]
fn a_configuration_and_what_overrides_it_are_one_and_boards_may_be_named_beside_it() {
    let bench = Bench::new();
    let (base, more) = (data("config.yaml"), data("override.yaml"));
    let args = ["--yaml", &base, "--yaml", &more, "--mac", "f4:12:fa:00:00:09", "--within", "1h", "--json"];
    let tried = bench.run(&args);
    let (_, err) = said(&tried);
    assert!(tried.status.success(), "{err}");
    let report: Value = serde_json::from_slice(&tried.stdout).unwrap();
    let macs: Vec<&str> =
        report["devices"].as_array().unwrap().iter().map(|row| row["mac"].as_str().unwrap()).collect();
    assert_eq!(macs, ["f4:12:fa:00:00:01", "f4:12:fa:00:00:02", "f4:12:fa:00:00:09"]);
    let piece = report["settings"].as_str().unwrap();
    holds(piece);
    let piece: toml::Table = toml::from_str(piece).unwrap();
    assert_eq!(piece["providers"]["chat"]["url"].as_str(), Some("http://127.0.0.1:11434/v1"));
    assert_eq!(piece["providers"]["stt"]["url"].as_str(), Some("https://groq.example/openai/v1"));
    let speaks = &piece["providers"]["tts"];
    assert_eq!((speaks["type"].as_str(), speaks["voice"].as_str()), (Some("edge"), Some("zh-CN-XiaoxiaoNeural")));
    assert_eq!(piece["devices"]["timezone"].as_str(), Some("Asia/Shanghai"));
    assert_eq!(piece["voice"]["reply"]["system_prompt"].as_str(), Some("You are a box.\nBe short: \"two sentences\"."));
    let notes = report["notes"].to_string();
    contains(&notes, &["EdgeTTS", "plugins", "enable_greeting", "--keys", "VLLM EyeVLLM"]);
    let alone = bench.run(&["--yaml", &base]);
    let (out, err) = said(&alone);
    assert!(alone.status.success(), "{err}");
    contains(&out, &["device 11:22:33:44:55:66: is left out"]);
}

#[test]
fn what_is_no_dump_and_no_configuration_is_said_and_nothing_is_done() {
    let bench = Bench::new();
    let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain("INSERT".bytes().flat_map(|byte| [byte, 0])).collect();
    let deep = format!("a: {}", "[".repeat(100_000));
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..=30 {
        let all = vec![format!("*a{}", n - 1); 9].join(",");
        writeln!(bomb, "a{n}: &a{n} [{all}]").unwrap();
    }
    for (option, file, text, part) in [
        ("--dump", "noise.sql", b"\x00\x01'\"`/* \\ INSERT".to_vec(), "nothing in it that could be taken"),
        ("--dump", "empty.sql", Vec::new(), "there is no table ai_device"),
        ("--dump", "packed.sql", vec![0x1F, 0x8B, 8, 0], "gunzip"),
        ("--dump", "wide.sql", utf16, "--result-file"),
        ("--yaml", "empty.yaml", Vec::new(), "nothing in it"),
        ("--yaml", "list.yaml", b"- a\n- b\n".to_vec(), "list.yaml:1: is no configuration"),
        ("--yaml", "bad.yaml", b"a: 1\nLLM:\n  api_key: \"sk-llm-secret\n".to_vec(), "is no YAML"),
        ("--yaml", "deep.yaml", deep.into_bytes(), "is no YAML"),
        ("--yaml", "bomb.yaml", bomb.into_bytes(), "is no YAML"),
    ] {
        let path = bench.file(file, text);
        let output = bench.run(&[option, &path, "--apply"]);
        let (out, err) = said(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{file}: {err}");
        contains(&err, &[file, part]);
    }
    let part = "CREATE TABLE `ai_device` (`id` int, `mac_address` text);INSERT INTO `ai_device` VALUES (1,'f4:12:fa:00:00:01');";
    let few = bench.run(&["--dump", &bench.file("part.sql", part)]);
    let (out, err) = said(&few);
    assert!(few.status.success() && err.is_empty(), "{err}");
    contains(&out, &["device f4:12:fa:00:00:01: would be expected", "table ai_agent: is not in the dump"]);
    for args in [&["--apply"][..], &["--dump", "a", "--yaml", "b"], &["--dump", "a", "--within", "soon"]] {
        assert_eq!(bench.run(args).status.code(), Some(2), "{args:?}");
    }
    let dump = data("console.sql");
    let (_, err) = said(&bench.run(&["--dump", &dump, "--within", "60d"]));
    contains(&err, &["thirty days", "after 0 of 4 devices"]);
    assert_eq!(bench.devices().as_array().unwrap().len(), 0);
}

async fn ask(gateway: &Running, mac: &str, number: &str) -> Value {
    ask_at(gateway.addrs().devices.unwrap(), mac, number).await
}

async fn ask_at(address: SocketAddr, mac: &str, number: &str) -> Value {
    let body = r#"{"application":{"version":"2.4.2"},"board":{"type":"bread-compact-wifi"}}"#;
    let request = format!(
        "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 127.0.0.1\r\nDevice-Id: {mac}\r\nClient-Id: {number}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn connect(mqtt: &Value) -> Result<Device, String> {
    let text = |key: &str| mqtt[key].as_str().unwrap().to_owned();
    let (host, port) = mqtt["endpoint"].as_str().unwrap().split_once(':').unwrap();
    let id = DeviceId::parse(&text("username")).unwrap();
    let login = Login { host: host.to_owned(), port: port.parse().unwrap(), id, secret: text("password") };
    Device::connect(&login, PATIENCE).await.map_err(|error| format!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_was_moved_comes_in_at_once_and_nobody_else_under_its_name() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let bench = Bench::of(&gateway);
    let (base, more) = (data("config.yaml"), data("override.yaml"));
    let moved = ["--yaml", &base, "--yaml", &more, "--apply"];
    let stranger = ask(&gateway, "f4:12:fa:00:00:01", NUMBER).await;
    assert!(stranger["activation"]["code"].is_string(), "{stranger}");
    let (out, err) = said(&bench.run(&moved));
    contains(&out, &["device f4:12:fa:00:00:01: expected for 7d"]);
    assert_eq!(err, "");

    let told = ask(&gateway, "f4:12:fa:00:00:01", NUMBER).await;
    assert!(told["activation"].is_null(), "{told}");
    let board = connect(&told["mqtt"]).await.unwrap();
    let second = ask(&gateway, "f4:12:fa:00:00:01", OTHER).await;
    assert!(second["mqtt"].is_null() && second["activation"]["code"].is_string(), "{second}");
    let unnamed = ask(&gateway, "f4:12:fa:00:00:07", OTHER).await;
    assert!(unnamed["mqtt"].is_null(), "{unnamed}");

    // done again: the board stays who it is, and the one that has not come is still expected
    let (out, _) = said(&bench.run(&moved));
    contains(&out, &["device f4:12:fa:00:00:01: is there already", "0 devices", "2 there already"]);
    let gateway = gateway.restart().await;
    assert_eq!(ask(&gateway, "f4:12:fa:00:00:01", NUMBER).await["mqtt"]["password"], told["mqtt"]["password"]);
    let other = ask(&gateway, "f4:12:fa:00:00:02", OTHER).await;
    drop(connect(&other["mqtt"]).await.unwrap());
    let pending = Client::new(&gateway.config().control.socket).device_pending().await.unwrap();
    assert!(pending.is_empty(), "{pending:?}");
    drop(board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_that_know_the_old_port_are_answered_there_and_told_where_everything_is() {
    let dir = Arc::new(TempDir::new().unwrap());
    let mut config = Box::new(config(dir.path()));
    config.devices.also = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    config.devices.allow = vec!["f4:12:fa:00:00:01".to_owned()];
    let gateway = Running::start_in(dir, config, chat(&["Fine."])).await;
    let also = gateway.addrs().devices_also.clone();
    assert_eq!(also.len(), 2);
    let first = ask(&gateway, "f4:12:fa:00:00:01", NUMBER).await;
    for address in also {
        let told = ask_at(address, "f4:12:fa:00:00:01", NUMBER).await;
        assert_eq!(told["mqtt"], first["mqtt"]);
        drop(connect(&told["mqtt"]).await.unwrap());
    }
    let taken = gateway.addrs().devices.unwrap();
    let status = Client::new(&gateway.config().control.socket).status().await.unwrap();
    assert_eq!(status.listeners.iter().filter(|(name, _)| name == "devices").count(), 3);
    let dir = Arc::new(TempDir::new().unwrap());
    let mut config = Box::new(gateway::config(dir.path()));
    config.devices.also = vec![taken];
    let refused = voxgate::door::http::devices::Server::bind(&config.devices).await.unwrap_err().to_string();
    assert!(refused.contains(&taken.to_string()) && refused.contains("devices.also"), "{refused}");
    gateway.stop().await;
}
