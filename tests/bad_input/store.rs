//! A folder that another gateway holds, that is damaged, or that cannot be written.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use voxgate::admin::{Admin, LifelogQuery};
use voxgate::app::Gateway;
use voxgate::config::Config;

use crate::gateway::answer::ask;
use crate::gateway::binary::{config as config_file, voxgate};
use crate::gateway::tmpfs::Tmpfs;
use crate::gateway::{Running, chat, outside};

/// What `voxgate serve` says when it does not start, and its exit code.
fn refused(data: &Path) -> (Option<i32>, String) {
    let dir = TempDir::new().unwrap();
    let rest = "[engine]\nstart = \"off\"\n";
    let output = voxgate(&config_file(dir.path(), data, rest), &["serve"]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_a_folder_says_who_holds_it_and_the_first_goes_on() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut device = gateway.device("cane-1").await;
    let data = gateway.config().gateway.data_dir.clone();
    let (code, said) = tokio::task::spawn_blocking(move || refused(&data)).await.unwrap();
    assert_eq!(code, Some(1), "{said}");
    let folder = gateway.config().gateway.data_dir.display().to_string();
    let holder = format!("process {}", std::process::id());
    for words in ["locked", &folder, &holder, "stop that gateway first"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    ask(&mut device, "how are you").await.must_be("Fine.");
    gateway.stop().await;
}

#[test]
fn a_folder_that_cannot_be_made_is_named_with_what_mends_it() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let (code, said) = refused(&file.join("data"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&file.join("data").display().to_string()) && said.contains("gateway.data_dir"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), b"in the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_is_said_and_left_as_it_is() {
    let Some(disk) = Tmpfs::mount("64m") else { return };
    let (fresh, used) = (disk.path().join("fresh"), disk.path().join("used"));
    let gateway = Running::start_with(chat(&["Fine."]), |config| config.gateway.data_dir.clone_from(&used)).await;
    gateway.stop().await;
    disk.read_only();
    for data in [fresh, used] {
        let (code, said) = refused(&data);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&data.display().to_string()), "{said}");
        assert!(said.to_lowercase().contains("read-only"), "{said}");
    }
}

/// What was asked before the damage.
fn questions() -> BTreeSet<String> {
    (0..12).map(|n| format!("question {n}")).collect()
}

/// The folder of a gateway that was asked these questions.
async fn lived() -> (Arc<TempDir>, Config) {
    let gateway = Running::start_with(chat(&["Fine."]), |config| {
        config.store.segment = voxgate::domain::ByteSize::kb(256);
        config.store.group = voxgate::domain::ByteSize::kb(64);
    })
    .await;
    let mut device = gateway.device("cane-1").await;
    for question in questions() {
        ask(&mut device, &question).await.must_be("Fine.");
    }
    gateway.turns("cane-1", 12).await;
    gateway.put_away().await
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// How a file is spoiled.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// A bit is turned at so many thousandths of what is written in it.
    Flip(usize),
    /// Only so many thousandths are left.
    Cut(usize),
    /// It is gone.
    Gone,
    /// It holds something else.
    Garbage,
}

fn spoil(path: &Path, damage: Damage) {
    if path.is_dir() {
        return std::fs::remove_dir_all(path).unwrap();
    }
    let mut bytes = std::fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    match damage {
        Damage::Flip(at) => bytes[(used - 1) * at / 1_000] ^= 0x10,
        Damage::Cut(at) => bytes.truncate(used * at / 1_000),
        Damage::Garbage => bytes = b"garbage".to_vec(),
        Damage::Gone => return std::fs::remove_file(path).unwrap(),
    }
    std::fs::write(path, bytes).unwrap();
}

/// Starts a gateway on the folder. Either it says what is wrong, or all is there that was acknowledged.
async fn said_or_whole(config: Config, what: &str) -> Option<String> {
    let data = config.gateway.data_dir.clone();
    let gateway = match Gateway::start(config, outside(&chat(&["Fine."]))).await {
        Ok(gateway) => gateway,
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(&data.display().to_string()) || said.contains("record"), "{what}: where? {said}");
            return Some(said);
        }
    };
    let operators = gateway.operators();
    let devices: Vec<_> = operators.device_list().await.unwrap().into_iter().map(|row| row.id.to_string()).collect();
    assert_eq!(devices, ["cane-1"], "{what}: a device is forgotten");
    let query = LifelogQuery { kind: Some("turn".into()), limit: 1_000, ..LifelogQuery::default() };
    let said = match operators.lifelog_list(query).await {
        Ok(rows) => {
            let found: BTreeSet<_> =
                rows.iter().map(|row| row.detail["transcript"].as_str().unwrap().to_owned()).collect();
            assert_eq!(found, questions(), "{what}: a turn is forgotten");
            None
        }
        // a record that cannot be read is said when it is asked for
        Err(error) => Some(error.message),
    };
    gateway.stop(std::time::Duration::from_secs(10)).await;
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damage_to_the_records_is_covered_up() {
    let (dir, config) = Box::pin(lived()).await;
    let data = config.gateway.data_dir.clone();
    let journal = std::fs::read_dir(data.join("store/journal")).unwrap().map(|f| f.unwrap().path());
    let journal = journal.filter(|path| path.extension().is_some_and(|e| e == "vxj")).max().unwrap();
    let journal = journal.strip_prefix(&data).unwrap().display().to_string();
    let mut stories = Vec::new();
    for damage in [Damage::Flip(100), Damage::Flip(500), Damage::Flip(990), Damage::Cut(500), Damage::Cut(0)] {
        stories.push((journal.as_str(), damage));
        stories.push(("store/sled/db", damage));
        stories.push(("store/format.json", damage));
    }
    for gone in ["store/journal", "store/sled", "store/sled/db", "store/format.json", "credentials.key"] {
        stories.push((gone, Damage::Gone));
    }
    stories.push(("store/format.json", Damage::Garbage));
    stories.push(("store/sled/db", Damage::Garbage));
    stories.push(("credentials.key", Damage::Cut(500)));
    let must_be_said = |file: &str, damage| {
        !matches!(file, "store/sled/db") && !matches!(damage, Damage::Flip(_) | Damage::Cut(_)) || file.contains("key")
    };
    for (n, (file, damage)) in stories.into_iter().enumerate() {
        let what = format!("{file} {damage:?}");
        let target = dir.path().join(format!("copy-{n}"));
        copy(&data, &target);
        spoil(&target.join(file), damage);
        let mut config = config.clone();
        config.gateway.data_dir = target;
        let said = Box::pin(said_or_whole(config.clone(), &what)).await;
        assert!(said.is_some() || !must_be_said(file, damage), "{what} is covered up");
        if said.is_some() {
            let again = Box::pin(said_or_whole(config, &what)).await;
            assert!(again.is_some(), "{what}: said once, then covered up");
        }
    }
}
