//! Whole pulls from a small server on loopback that behaves as badly as it is told to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::provider::http;

use super::super::Settings;
use super::*;

/// What the server does with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// The file, or the part asked for.
    Good,
    /// Promises all, sends so many bytes and hangs up.
    CutAfter(usize),
    /// The whole file although a part was asked for.
    NoRange,
    /// This status and no file.
    Status(u16),
    /// Sends so many bytes and then nothing.
    HangAfter(usize),
}

/// A server for one file; the replies are used up, after that it is [`Reply::Good`].
struct Server {
    addr: SocketAddr,
    /// The `Range` of each request, or "".
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(file: Vec<u8>, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, mut replies) = (asked.clone(), VecDeque::from(replies.to_vec()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(socket.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                let range = request.lines().find_map(|line| line.strip_prefix("range: bytes=")).unwrap_or("");
                log.lock().unwrap().push(range.to_owned());
                let from = range.trim_end_matches('-').parse().unwrap_or(0_usize).min(file.len());
                let reply = replies.pop_front().unwrap_or(Reply::Good);
                let (head, body) = answer(reply, &file, from);
                socket.write_all(head.as_bytes()).await.unwrap();
                // The client may have hung up, which is its right.
                let _ = socket.write_all(body).await;
                if matches!(reply, Reply::HangAfter(_)) {
                    open.push(socket);
                }
            }
        });
        Self { addr, asked, _tasks: tasks }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(reply: Reply, file: &[u8], from: usize) -> (String, &[u8]) {
    let head = |status: &str, more: String, length: usize| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n")
    };
    let whole = file.len();
    let rest = &file[from..];
    let part = |sent: usize| {
        let range = format!("content-range: bytes {from}-{}/{whole}\r\n", whole - 1);
        let (status, more) = if from > 0 { ("206 Partial Content", range) } else { ("200 OK", String::new()) };
        (head(status, more, rest.len()), &rest[..sent.min(rest.len())])
    };
    match reply {
        Reply::Good => part(whole),
        Reply::CutAfter(bytes) | Reply::HangAfter(bytes) => part(bytes),
        Reply::NoRange => (head("200 OK", String::new(), whole), file),
        Reply::Status(status) => (head(&format!("{status} No"), String::new(), 0), &[]),
    }
}

/// 300 KB that do not repeat.
fn weights() -> Vec<u8> {
    (0..300_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// A folder, and a manifest for the model `m` with one `url` source an address.
struct Scene {
    dir: tempfile::TempDir,
    models: Models,
    client: Client,
    events: Arc<Mutex<Vec<Event>>>,
}

fn source(addr: SocketAddr, size: usize, sha: Sha) -> String {
    format!(
        r#"[[model.source]]
        downloads = [{{ type = "url", url = "http://{addr}/w.bin", file = "w.bin", size = {size}, sha256 = "{sha}" }}]
        take = [{{ from = ["w.bin"], to = "weights.bin", size = {size}, sha256 = "{sha}" }}]
        "#
    )
}

fn scene(sources: &[String]) -> Scene {
    scene_with(sources, Settings::default())
}

fn scene_with(sources: &[String], settings: Settings) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let head = "[[model]]\nname = \"m\"\npurpose = \"stt\"\nlicence = \"MIT\"\nabout = \"a model\"\ndefault = true\n";
    let path = dir.path().join("manifest.toml");
    fs::write(&path, format!("{head}{}", sources.concat())).unwrap();
    let settings = Settings { manifest: Some(path), ..settings };
    let models = Models::open(&settings, dir.path()).unwrap();
    let client = Client::new(&http::Settings::default()).unwrap();
    Scene { dir, models, client, events: Arc::default() }
}

impl Scene {
    fn listener(&self) -> Arc<dyn Progress> {
        let events = self.events.clone();
        Arc::new(move |_: &str, event: &Event| events.lock().unwrap().push(event.clone()))
    }

    async fn pull(&self, force: bool) -> Result<PathBuf, PullError> {
        let pulled = self.models.pull(&Selection::Default, force, &self.client, self.listener()).await;
        pulled.unwrap().remove(0).result
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().drain(..).collect()
    }

    fn state(&self) -> State {
        self.models.status().remove(0).state
    }

    fn partial(&self) -> usize {
        fs::read_dir(self.dir.path().join("models/.partial")).map_or(0, Iterator::count)
    }
}

#[tokio::test]
async fn a_pull_brings_the_model_and_a_second_one_nothing() {
    let server = Server::start(weights(), &[]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    assert_eq!(scene.state(), State::Missing);
    let folder = scene.pull(false).await.unwrap();
    assert_eq!(fs::read(folder.join("weights.bin")).unwrap(), weights());
    assert!(fs::read_to_string(folder.join(SOURCE)).unwrap().contains("Licence: MIT"));
    assert_eq!((scene.state(), scene.partial()), (State::Ready, 0));
    assert!(matches!(scene.events().last(), Some(Event::Ready { .. })));
    scene.pull(false).await.unwrap();
    assert_eq!(scene.events(), [Event::Already]);
    scene.pull(true).await.unwrap();
    assert_eq!(server.asked(), ["", ""]);
    assert_eq!(scene.state(), State::Ready);
}

#[tokio::test]
async fn a_broken_line_is_resumed_where_it_broke() {
    let server = Server::start(weights(), &[Reply::CutAfter(100_000), Reply::CutAfter(150_000)]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    let folder = scene.pull(false).await.unwrap();
    assert_eq!(fs::read(folder.join("weights.bin")).unwrap(), weights());
    assert_eq!(server.asked(), ["", "100000-", "250000-"]);
    assert_eq!(scene.events().iter().filter(|e| matches!(e, Event::Retry { .. })).count(), 2);
}

#[tokio::test]
async fn a_pull_that_was_dropped_goes_on_in_the_next() {
    let server = Server::start(weights(), &[Reply::HangAfter(120_000)]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    let part = scene.dir.path().join("models/.partial");
    {
        let mut pull = Box::pin(scene.pull(false));
        let arrived = async {
            // The bytes are on the disk when the file has them; its name holds the sum.
            while !fs::read_dir(&part).is_ok_and(|all| all.flatten().any(|f| f.metadata().unwrap().len() == 120_000)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut pull => panic!("the server hangs"),
            () = arrived => {}
        }
    }
    assert_eq!(scene.state(), State::Missing);
    scene.pull(false).await.unwrap();
    assert_eq!(server.asked(), ["", "120000-"]);
    assert!(scene.events().iter().any(|e| matches!(e, Event::Resume { have: 120_000, .. })));
    assert_eq!(scene.state(), State::Ready);
}

#[tokio::test]
async fn a_server_without_ranges_sends_all_again() {
    let server = Server::start(weights(), &[Reply::CutAfter(100_000), Reply::NoRange]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    let folder = scene.pull(false).await.unwrap();
    assert_eq!(fs::read(folder.join("weights.bin")).unwrap(), weights());
}

#[tokio::test]
async fn other_bytes_of_the_right_length_never_become_a_model() {
    let mut other = weights();
    other[299_999] ^= 1;
    let (bad, good) = (Server::start(other, &[]).await, Server::start(weights(), &[]).await);
    let sources = |addr| source(addr, weights().len(), Sha::bytes(&weights()));
    let alone = scene(&[sources(bad.addr)]);
    let error = alone.pull(false).await.unwrap_err();
    assert!(error.to_string().contains("sha256"), "{error}");
    assert_eq!((alone.state(), alone.partial()), (State::Missing, 0));
    let with_mirror = scene(&[sources(bad.addr), sources(good.addr)]);
    let folder = with_mirror.pull(false).await.unwrap();
    assert_eq!(fs::read(folder.join("weights.bin")).unwrap(), weights());
    let failed = with_mirror.events().into_iter().find(|e| matches!(e, Event::SourceFailed { .. }));
    assert!(matches!(failed, Some(Event::SourceFailed { source, error })
        if source.contains(&bad.addr.to_string()) && error.contains("sha256")));
}

#[tokio::test]
async fn a_rotten_part_of_an_earlier_pull_is_thrown_away() {
    let server = Server::start(weights(), &[]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    let places = Places::new(scene.models.dir(), scene.models.model("m").unwrap());
    fs::create_dir_all(&places.partial).unwrap();
    fs::write(&places.downloads[1], vec![0; 1_000]).unwrap();
    scene.pull(false).await.unwrap();
    assert_eq!(server.asked(), ["1000-", ""]);
    assert_eq!(scene.state(), State::Ready);
}

#[tokio::test]
async fn a_server_with_another_file_is_told_by_its_length() {
    for file in [vec![0; 10], vec![0; 400_000]] {
        let server = Server::start(file, &[]).await;
        let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
        let error = scene.pull(false).await.unwrap_err().to_string();
        assert!(error.contains("the manifest says 300000"), "{error}");
    }
}

#[tokio::test]
async fn a_line_that_brings_nothing_is_given_up() {
    let server = Server::start(weights(), &[Reply::CutAfter(0); 9]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    assert!(matches!(scene.pull(false).await, Err(PullError::AllFailed(_))));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn when_all_mirrors_are_down_each_is_told_and_the_old_model_stays() {
    let good =
        Server::start(weights(), &[Reply::Good, Reply::Status(503), Reply::Status(503), Reply::Status(503)]).await;
    let gone = Server::start(Vec::new(), &[Reply::Status(404)]).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let sources = |addr| source(addr, weights().len(), Sha::bytes(&weights()));
    let scene = scene(&[sources(good.addr), sources(gone.addr), sources(closed)]);
    scene.pull(false).await.unwrap();
    let Err(PullError::AllFailed(failures)) = scene.pull(true).await else { panic!("there is no server") };
    let told: Vec<_> = failures.iter().map(|(_, error)| error.as_str()).collect();
    assert_eq!(told.len(), 3);
    assert!(told[0].contains("503") && told[1].contains("404"), "{told:?}");
    assert_eq!(gone.asked().len(), 1, "a 404 is not asked again");
    assert_eq!(scene.state(), State::Ready);
}

#[tokio::test]
async fn a_disk_without_room_is_told_before_a_byte_is_fetched() {
    let server = Server::start(weights(), &[]).await;
    let scene = scene(&[source(server.addr, 1 << 60, Sha::bytes(b""))]);
    assert!(matches!(scene.pull(false).await, Err(PullError::NoRoom { need, .. }) if need > 1 << 60));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_damaged_model_is_pulled_again_and_an_interrupted_replacement_is_undone() {
    let server = Server::start(weights(), &[]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    let folder = scene.pull(false).await.unwrap();
    fs::remove_file(folder.join("weights.bin")).unwrap();
    scene.pull(false).await.unwrap();
    assert_eq!((scene.state(), server.asked().len()), (State::Ready, 2));
    let places = Places::new(scene.models.dir(), scene.models.model("m").unwrap());
    fs::rename(&places.folder, &places.old).unwrap();
    assert_eq!(scene.state(), State::Missing);
    scene.pull(false).await.unwrap();
    assert_eq!((scene.state(), server.asked().len()), (State::Ready, 2));
}

#[tokio::test]
async fn two_pulls_at_once_fetch_once() {
    let server = Server::start(weights(), &[]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    let (one, two) = tokio::join!(scene.pull(false), scene.pull(false));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(server.asked(), [""]);
    let events = scene.events();
    assert!(events.contains(&Event::Waiting) && events.contains(&Event::Already), "{events:?}");
}

#[tokio::test]
async fn remove_takes_the_model_and_the_parts_and_refuses_while_a_pull_is_at_work() {
    let server = Server::start(weights(), &[]).await;
    let scene = scene(&[source(server.addr, weights().len(), Sha::bytes(&weights()))]);
    assert!(!scene.models.remove("m").unwrap());
    scene.pull(false).await.unwrap();
    let places = Places::new(scene.models.dir(), scene.models.model("m").unwrap());
    fs::write(&places.downloads[1], b"part").unwrap();
    let lock = Lock::try_take(scene.models.dir()).unwrap();
    assert!(matches!(scene.models.remove("m"), Err(ModelsError::Busy(_))));
    drop(lock);
    assert!(scene.models.remove("m").unwrap());
    assert_eq!((scene.state(), scene.partial()), (State::Missing, 0));
    assert!(matches!(scene.models.remove("../m"), Err(ModelsError::Unknown { .. })));
}

/// A wheel as pip takes it.
fn wheel(path: &Path) {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let info = "voxgate_test_weights-1.0.dist-info";
    let members = [
        ("voxgate_test_weights/w.bin".to_owned(), weights()),
        (format!("{info}/METADATA"), b"Metadata-Version: 2.1\nName: voxgate-test-weights\nVersion: 1.0\n".to_vec()),
        (format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_vec()),
        (format!("{info}/RECORD"), Vec::new()),
    ];
    for (name, bytes) in members {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn wheel_source(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let (file, size, sha) = (path.file_name().unwrap().to_str().unwrap(), bytes.len(), Sha::bytes(&bytes));
    let (taken, sum) = (weights().len(), Sha::bytes(&weights()));
    format!(
        r#"[[model.source]]
        downloads = [{{ type = "pypi", package = "voxgate-test-weights", version = "1.0", file = "{file}", size = {size}, sha256 = "{sha}" }}]
        take = [{{ from = ["voxgate_test_weights/w.bin"], to = "weights.bin", size = {taken}, sha256 = "{sum}" }}]
        "#
    )
}

#[tokio::test]
async fn a_wheel_comes_through_the_machines_own_pip() {
    if let Err(told) = Pip::find().await {
        println!("skipped: {told}");
        return;
    }
    let shelf = tempfile::tempdir().unwrap();
    let path = shelf.path().join("voxgate_test_weights-1.0-py3-none-any.whl");
    wheel(&path);
    // The real pip, with a folder for an index.
    let command = r#"PIP_NO_INDEX=1 PIP_FIND_LINKS="$0" PIP_CONFIG_FILE=/dev/null exec python3 -m pip "$@""#;
    let shelf_name = shelf.path().display().to_string();
    let pip = ["sh".to_owned(), "-c".into(), command.into(), shelf_name];
    let scene = scene_with(&[wheel_source(&path)], Settings { pip: pip.to_vec(), ..Settings::default() });
    let folder = scene.pull(false).await.unwrap();
    assert_eq!(fs::read(folder.join("weights.bin")).unwrap(), weights());
    assert_eq!((scene.state(), scene.partial()), (State::Ready, 0));
    // An index without it: what pip says is what the person reads.
    fs::remove_file(&path).unwrap();
    let error = scene.pull(true).await.unwrap_err().to_string();
    assert!(error.contains("No matching distribution"), "{error}");
    assert_eq!(scene.state(), State::Ready);
}

#[tokio::test]
async fn without_pip_the_mirror_is_used_and_with_prefer_url_it_is_first() {
    let shelf = tempfile::tempdir().unwrap();
    let path = shelf.path().join("voxgate_test_weights-1.0-py3-none-any.whl");
    wheel(&path);
    let server = Server::start(weights(), &[]).await;
    let sources = [wheel_source(&path), source(server.addr, weights().len(), Sha::bytes(&weights()))];
    let pip = vec!["/nowhere/pip".to_owned()];
    let scene = scene_with(&sources, Settings { pip: pip.clone(), ..Settings::default() });
    scene.pull(false).await.unwrap();
    let failed = |e: &Event| matches!(e, Event::SourceFailed { error, .. } if error.contains("cannot be started"));
    assert!(scene.events().iter().any(failed));
    let prefer = Settings { pip, prefer: super::super::Via::Url, ..Settings::default() };
    let scene = scene_with(&sources, prefer);
    scene.pull(false).await.unwrap();
    assert!(!scene.events().iter().any(failed));
}
