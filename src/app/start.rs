//! The start, part by part, in the order in which they need each other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answers::{self, Answers};
use super::boards::Boards;
use super::commands::DeviceCommands;
use super::health::Parts as HealthParts;
use super::metrics::Metrics;
use super::operators::{Operators, runtime};
use super::watchdog::Watchdog;
use super::{Addrs, Gateway, Outside, StartError, housekeeping};
use crate::admin::ControlServer;
use crate::audio::{self, TurnModel, VadModel, Workers};
use crate::bridge::Bridges;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::domain::{Arrivals, Bulletins, Datagrams, Ingress, Photos};
use crate::door::credentials::{self, Credentials};
use crate::door::http::conversation::Conversations;
use crate::door::http::talk::Talk;
use crate::door::http::{control, conversation, operators as http, talk};
use crate::door::mqtt::{Bus, BusParts, Door};
use crate::door::rights::Rights;
use crate::door::{mqtt, udp};
use crate::engine::supervisor::View;
use crate::home_assistant::{Ear, Home};
use crate::lifelog::Lifelog;
use crate::operations::Operations;
use crate::pipeline::images::Images;
use crate::pipeline::sos::{self, Calls};
use crate::pipeline::voice::{self, Absent};
use crate::policy::Policies;
use crate::provider;
use crate::router::Router;
use crate::session::{self, EarParts, Limits};
use crate::store::records::Numbers;
use crate::store::{self, Opened, Store};
use crate::tasks::{Tasks, Words};
use crate::topics::Table;
use crate::{cache, lifelog, observe};

/// An engine that chooses its own ports says which within this.
const ENGINE_PATIENCE: Duration = Duration::from_secs(20);
/// Where the voice activity model is, below the models' folder.
const SMART_TURN: &str = "smart-turn-v3.2/smart-turn-v3.2-cpu.onnx";
const SILERO: &str = "silero-vad/silero_vad_16k_sequence.onnx";

pub(super) async fn start(config: Config, outside: Outside) -> Result<Gateway, StartError> {
    let config = Arc::new(config);
    let Outside { clock, random, notifier, providers: given, file } = outside;
    let mut registry = observe::registry();
    let metrics = Metrics::register(&mut registry);
    let (stop, stop_bridges, stop_bus) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (tasks, bridge_tasks, bus_tasks) = (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());

    let data = config.gateway.data_dir.clone();
    std::fs::create_dir_all(&data).map_err(|error| StartError::DataDir(data.clone(), error))?;
    let Opened { store, report } = open_store(&config, &clock, metrics.store).await?;
    let numbers = Arc::new(Numbers::new(report.boot));
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let lifelog = open_lifelog(&config, &shared, &clock, &numbers, &metrics.lifelog)?;

    let table = Arc::new(Table::builtin(&config.gateway.name)?);
    let rights = Rights::open(Arc::clone(&table), config.mqtt.rules.clone(), Arc::clone(&shared)).await?;
    let bus = Bus::start(
        config.mqtt.bus.clone(),
        &config.mqtt.limits,
        BusParts {
            store: Arc::clone(&shared),
            rights: Arc::clone(&rights),
            table: Arc::clone(&table),
            clock: Arc::clone(&clock),
            metrics: metrics.mqtt.clone(),
        },
        &bus_tasks,
        stop_bus.clone(),
    );
    let options = credentials::Options {
        settings: config.mqtt.credentials.clone(),
        certificates: config.mqtt.certificates,
        metrics: metrics.credentials,
        without_key: false,
    };
    let credentials = Credentials::open_with(Arc::clone(&shared), &data, Arc::clone(&clock), options).await?;
    first_operator(&credentials, &data).await?;

    let workers = Workers::new(cores(), metrics.workers)?;
    let vad = load_vad(&config).await?;
    let turn_model = load_turn_model(&config, metrics.turn_model).await?;
    let engine = if given.is_none() && config.providers.wants_engine() {
        Some(housekeeping::engine(&config, &mut registry, &tasks, &stop)?)
    } else {
        None
    };
    let caches = super::caches::open(&config, &workers, &clock, metrics.cache);
    let policies = open_policies(&config, metrics.policy).await?;
    let calls = open_calls(&config, (&shared, &lifelog), &clock, metrics.sos)?;
    let pools = provider::pool::Pools::default();
    let tasks_parts = crate::tasks::Parts {
        settings: config.tasks.clone(),
        store: Arc::clone(&shared),
        numbers: Arc::clone(&numbers),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        words: Arc::new(Words::builtin()?),
        metrics: metrics.tasks,
    };
    let errands = Tasks::open(tasks_parts).await?;
    let answers_parts = answers::Parts {
        file,
        given,
        engine: engine.clone(),
        workers: workers.clone(),
        policies: policies.clone(),
        caches: Arc::clone(&caches),
        lifelog: Arc::clone(&lifelog),
        store: Arc::clone(&shared),
        watchers: bus.clone() as Arc<dyn Bulletins>,
        errands: Arc::clone(&errands),
        clock: Arc::clone(&clock),
        metrics: metrics.answers,
        random: Arc::clone(&random),
        pools: pools.clone(),
        pool: metrics.providers,
        warm: metrics.warm,
        voice: metrics.voice,
        vision: metrics.vision,
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let answers = Answers::open(&config, answers_parts).await?;
    let ahead = super::caches::Ahead::new(&config, &answers.voice(), &shared);

    let task_random = Arc::clone(&random);
    let arrivals = Arrivals::default();
    let udp = if config.udp.enabled {
        let (clock, random) = (Arc::clone(&clock), Arc::clone(&random));
        let parts = udp::Parts { clock, arrivals: arrivals.clone(), random, metrics: metrics.udp };
        Some(udp::Door::bind(config.udp.clone(), parts)?)
    } else {
        None
    };
    let channels = udp.as_ref().map(|door| door.channels() as Arc<dyn Datagrams>);
    let delivery = Arc::new(Delivery::new(Arc::clone(&table), channels, metrics.delivery));
    let counters = (metrics.enrolment, metrics.devices, metrics.photos.clone());
    let board_random = Arc::clone(&random);
    let boards = Boards::open(&config, (&shared, &credentials), &clock, bus.clone(), board_random, counters).await?;
    let operations = Operations::open(
        config.operations.clone(),
        Arc::clone(&shared),
        Arc::clone(&numbers),
        Arc::clone(&clock),
        Arc::clone(&random),
        metrics.operations,
    );
    let operations = operations.await?;
    let counted = metrics.session.clone();
    let samples = super::home::samples(&config, (&shared, &numbers), &clock, (&bus, &table), metrics.telemetry);
    let told = (config.home_assistant.clone(), config.telemetry.publishes());
    let home = Home::new(told.0, told.1, Arc::clone(&table), bus.clone());
    let intake = Images::new(Arc::clone(&lifelog), Arc::clone(&clock));
    let parts = session::Parts {
        settings: config.session.clone(),
        ears: EarParts {
            settings: config.voice.audio(),
            vad: vad.clone(),
            turn_model: turn_model.clone(),
            workers: workers.clone(),
            metrics: metrics.audio,
        },
        store: Arc::clone(&shared),
        lifelog: Arc::clone(&lifelog),
        numbers,
        sink: delivery.clone(),
        bulletins: Arc::new(Ear::new(Arc::clone(&home), bus.clone())),
        clock: Arc::clone(&clock),
        runner: Arc::new(answers.voice()),
        samples: Arc::clone(&samples),
        intake: Arc::new(intake),
        alarm: calls.has_target().then(|| Arc::clone(&calls) as Arc<dyn session::Alarm>),
        photos: boards.passes().map(|passes| passes as Arc<dyn Photos>),
        operations: Arc::clone(&operations),
        rooms: session::Rooms::default(),
        random: Arc::clone(&random),
        boot: report.boot,
        limits: Limits {
            packet: u32::try_from(config.mqtt.limits.packet.0).unwrap_or(u32::MAX),
            image: u32::try_from(crate::wire::native::MAX_IMAGE).unwrap_or(u32::MAX),
            in_flight: u32::from(config.mqtt.limits.in_flight),
        },
        metrics: metrics.session,
    };
    let router = Router::new(Arc::clone(&delivery), Arc::new(parts), stop.clone());
    let ingress: Arc<dyn Ingress> = Arc::new(router.clone());

    bus.load(&*shared, &config.mqtt.limits).await?;
    housekeeping::devices_are_offline(&credentials, &table, &*bus);
    let door = Door::bind(
        config.mqtt.clone(),
        mqtt::Parts {
            ingress: Arc::clone(&ingress),
            commands: Arc::new(DeviceCommands::new(router.clone())),
            credentials: Arc::clone(&credentials),
            table: Arc::clone(&table),
            rights: Arc::clone(&rights),
            bus: bus.clone(),
            clock: Arc::clone(&clock),
            arrivals: arrivals.clone(),
            metrics: metrics.mqtt,
        },
    )?;
    let (name, running) = (&config.gateway.name, (&bridge_tasks, &stop_bridges));
    let bridges = Bridges::start(&config.bridges, name, &door.control(), &metrics.bridge, random, running).await?;
    let health = Arc::new(HealthParts {
        config: Arc::clone(&config),
        store: Arc::clone(&store),
        bus: bus.clone(),
        vad,
        turn_model,
        engine,
        phrases: answers.phrases(),
        bridges,
    });
    let http = if config.http.enabled { Some(http::Server::bind(&config.http).await?) } else { None };
    let control = ControlServer::bind(&config.control)?;
    let mqtt_listeners: Vec<_> = door.addrs().iter().map(|(listener, addr)| (listener.name(), *addr)).collect();
    let addrs = Addrs {
        mqtt: mqtt_listeners.first().map_or(config.mqtt.listen, |(_, addr)| *addr),
        mqtt_listeners,
        devices: boards.address(),
        devices_also: boards.also(),
        udp: udp.as_ref().map(udp::Door::address),
        http: http.as_ref().map(http::Server::address),
        control: control.path().to_owned(),
    };
    let conversations = Conversations::new(
        config.websocket.clone(),
        conversation::Parts {
            ingress: Arc::clone(&ingress),
            credentials: boards.credentials(),
            clock: Arc::clone(&clock),
            arrivals: arrivals.clone(),
            metrics: metrics.websocket,
            tasks: tasks.clone(),
            stop: stop.clone(),
        },
    );
    let parts = talk::Parts {
        conversations: conversations.clone(),
        credentials: boards.credentials(),
        origins: config.devices.origins.clone(),
        clock: Arc::clone(&clock),
        metrics: metrics.talk,
        tasks: tasks.clone(),
    };
    let talk = Talk::new(config.talk.clone(), parts);
    let operators = Arc::new(Operators {
        config: Arc::clone(&config),
        store: Arc::clone(&shared),
        credentials,
        rights,
        enrolment: boards.enrolment(),
        firmware: boards.firmware(),
        lifelog: Arc::clone(&lifelog),
        operations: Arc::clone(&operations),
        tasks: Arc::clone(&errands),
        answers: Arc::clone(&answers),
        pools: pools.clone(),
        sessions: counted,
        started_at: clock.wall(),
        router: router.clone(),
        delivery,
        door: door.control(),
        conversations: conversations.clone(),
        talk: Arc::clone(&talk),
        health: Arc::clone(&health) as Arc<dyn observe::Health>,
        caches: Arc::clone(&caches),
        ahead: ahead.clone(),
        clock: Arc::clone(&clock),
        arrivals,
        boot: report.boot,
        started: clock.mono(),
        addrs: addrs.clone(),
    });

    let photos = super::photos::routes(&config, boards.passes(), answers.sight(), &clock, (metrics.photos, &tasks));
    let websocket = conversations.routes();
    let more = websocket.clone().merge(conversations.cane_routes()).merge(talk.routes()).merge(photos);
    boards.run(&door, websocket.has_routes(), more, (&tasks, &stop));
    tasks.spawn(log_end("mqtt", door.run(stop.clone())));
    if let Some(udp) = udp {
        tasks.spawn(udp.run(ingress, stop.clone()));
    }
    let admin = Arc::clone(&operators) as Arc<dyn crate::admin::Admin>;
    if let Some(http) = http {
        let parts = control::Parts {
            admin: Arc::clone(&admin),
            credentials: Arc::clone(&operators.credentials),
            clock: Arc::clone(&clock),
            metrics: metrics.control,
        };
        let api = config.http.api.enabled.then(|| control::Api::new(config.http.api.clone(), parts));
        let certificate = operators.door.certificate().filter(|_| config.http.tls);
        let parts = http::Parts { registry: Arc::new(registry), health, api, certificate };
        tasks.spawn(http.run(parts, stop.clone()));
    }
    tasks.spawn(control.run(admin, stop.clone()));
    tasks.spawn(operations.run(stop.clone()));
    tasks.spawn(super::home::assistant(Arc::clone(&operators), home, stop.clone()));
    let known = operators.credentials.list_devices();
    tasks.spawn(super::home::gone(Arc::clone(&operators.credentials), Arc::clone(&samples), stop.clone()));
    tasks.spawn(samples.run(known, stop.clone()));
    if config.tasks.enabled {
        let (work, devices) =
            super::errands::open(&config, &operators, &answers.chat(), (&clock, &task_random)).await?;
        tasks.spawn(errands.run(work, devices, stop.clone()));
    }
    let (every, keep) = (config.http.api.sample_every.0, config.http.api.samples);
    if config.http.enabled && config.http.api.enabled {
        tasks.spawn(runtime::note(Arc::clone(&operators), every, keep, stop.clone()));
    }
    tasks.spawn(Arc::clone(&lifelog).run(stop.clone()));
    tasks.spawn(calls.run(stop.clone()));
    tasks.spawn(pools.run(stop.clone()));
    answers.make_phrases().await;
    tasks.spawn(Arc::clone(&caches).run(stop.clone()));
    tasks.spawn(ahead.keep(stop.clone()));
    tasks.spawn(housekeeping::status(Arc::clone(&operators), table, Arc::clone(&bus), stop.clone()));
    let watchdog =
        Watchdog { door: operators.door.clone(), router: router.clone(), workers, store: Arc::clone(&store) };
    tasks.spawn(watchdog.clone().run(notifier, stop.clone()));
    tracing::info!(mqtt = ?addrs.mqtt_listeners, udp = ?addrs.udp, devices = ?addrs.devices, also = ?addrs.devices_also, http = ?addrs.http, control = %addrs.control.display(), boot = report.boot, "voxgate is up");
    notifier.ready(&format!("mqtt on {}", addrs.mqtt));
    Ok(Gateway {
        addrs,
        operators,
        stop,
        stop_bridges,
        stop_bus,
        tasks,
        bridge_tasks,
        bus_tasks,
        router,
        answers,
        store,
        notifier,
        watchdog,
        bus,
    })
}

pub(super) fn open_lifelog(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn crate::domain::Clock>,
    numbers: &Arc<Numbers>,
    metrics: &lifelog::Metrics,
) -> Result<Arc<Lifelog>, StartError> {
    let (settings, dir) = (config.lifelog.clone(), &config.gateway.data_dir);
    let lifelog = Lifelog::open(settings, dir, Arc::clone(store), Arc::clone(clock), Arc::clone(numbers), metrics)?;
    Ok(Arc::new(lifelog))
}

async fn open_policies(config: &Arc<Config>, metrics: crate::policy::Metrics) -> Result<Policies, StartError> {
    let settings = config.policy.clone();
    let opened = tokio::task::spawn_blocking(move || Policies::open(&settings, metrics)).await;
    Ok(opened.map_err(|error| StartError::Interrupted(error.to_string()))??)
}

/// Who tells others of calls for help.
fn open_calls(
    config: &Config,
    (store, lifelog): (&Arc<dyn Store>, &Arc<Lifelog>),
    clock: &Arc<dyn crate::domain::Clock>,
    metrics: sos::Metrics,
) -> Result<Arc<Calls>, StartError> {
    let parts = sos::Parts {
        settings: config.sos.clone(),
        gateway: config.gateway.name.clone(),
        client: provider::http::Client::new(&config.http_client)?,
        store: Arc::clone(store),
        lifelog: Arc::clone(lifelog),
        clock: Arc::clone(clock),
        metrics,
    };
    Calls::new(parts).map(Arc::new).map_err(StartError::SosToken)
}

pub(super) async fn open_store(
    config: &Config,
    clock: &Arc<dyn crate::domain::Clock>,
    metrics: store::Metrics,
) -> Result<Opened, StartError> {
    let (settings, dir, clock) = (config.store.clone(), config.gateway.data_dir.join("store"), Arc::clone(clock));
    let opened = tokio::task::spawn_blocking(move || store::open(settings, &dir, clock, &metrics)).await;
    let opened = opened.map_err(|error| StartError::Interrupted(error.to_string()))??;
    let report = &opened.report;
    if let Some((synced, found)) = report.rolled_back {
        tracing::warn!(
            synced,
            found,
            "sled had lost commits that were on its disk; they were taken from the journal: look at the disk"
        );
    }
    if let Some(torn) = &report.torn {
        tracing::warn!(at = %torn, "the last commit before the stop was not whole and was cut off; it was never acknowledged");
    }
    for harmless in &report.harmless {
        tracing::warn!(what = %harmless, "damage in an old part of the journal; nothing is lost");
    }
    Ok(opened)
}

/// The first start makes an operator; the secret goes to a file that only the owner reads.
async fn first_operator(credentials: &Credentials, data: &Path) -> Result<(), StartError> {
    let Some(secret) = credentials.first_operator("operator").await? else { return Ok(()) };
    let path = data.join("operator.secret");
    let written = {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        open.and_then(|mut file| writeln!(file, "{}", secret.reveal()))
    };
    written.map_err(|error| StartError::DataDir(path.clone(), error))?;
    tracing::info!(file = %path.display(), user = "operator", "the first operator was made; the password is in the file");
    Ok(())
}

async fn load_vad(config: &Arc<Config>) -> Result<VadModel, StartError> {
    let path = config.models_dir().join(SILERO);
    let settings = config.voice.vad.clone();
    let load = move || VadModel::load(path.is_file().then_some(path.as_path()), &settings);
    let vad = tokio::task::spawn_blocking(load).await.map_err(|error| StartError::Interrupted(error.to_string()))?;
    if let Some(why) = vad.fallback() {
        tracing::warn!(model = vad.name(), why, "the better voice activity model is missing: run voxgate models pull");
    }
    Ok(vad)
}

async fn load_turn_model(config: &Arc<Config>, metrics: audio::ending::Metrics) -> Result<TurnModel, StartError> {
    let path = config.models_dir().join(SMART_TURN);
    let settings = config.voice.endpoint.clone();
    let load = move || TurnModel::load(&path, &settings, metrics);
    let model =
        tokio::task::spawn_blocking(load).await.map_err(|error| StartError::Interrupted(error.to_string()))??;
    if let Some(why) = model.missing().filter(|_| config.voice.endpoint.model) {
        tracing::warn!(
            why,
            "without the end-of-turn model silence alone ends a turn: run voxgate models pull smart-turn-v3.2"
        );
    }
    Ok(model)
}

pub(super) async fn configured_providers(
    config: &Config,
    engine: Option<View>,
    (workers, caches): (&Workers, &cache::Caches),
    pool: &provider::pool::Parts,
    kept: &mut Vec<Arc<dyn provider::pool::Kept>>,
) -> Result<(voice::Providers, provider::warm::Warm), StartError> {
    let client = provider::http::Client::with_keys(&config.http_client)?;
    let mut local = provider::Local { wyoming: config.engine.listen_wyoming, http: config.engine.listen_http };
    if let Some(mut engine) = engine.filter(|_| local.wyoming.port() == 0 || local.http.port() == 0) {
        // the engine chose its ports: it says which before it loads a model
        let addrs = tokio::time::timeout(ENGINE_PATIENCE, engine.addrs()).await.ok().flatten();
        let addrs = addrs.ok_or_else(|| StartError::Engine(format!("{:?}", engine.state())))?;
        local = provider::Local { wyoming: addrs.wyoming, http: addrs.http };
    }
    let made = provider::Providers::new(&config.providers, local, &client, pool, workers)?;
    let (kept_pools, warm) = (made.pools.clone(), made.warm.clone());
    kept.extend(kept_pools);
    let made = super::caches::known(config, made);
    super::caches::embed_with(config, caches, made.embed.clone());
    let providers = voice::Providers {
        transcriber: made.stt.unwrap_or_else(|| Arc::new(Absent)),
        chat: made.chat.unwrap_or_else(|| Arc::new(Absent)),
        synthesizer: made.tts.unwrap_or_else(|| Arc::new(Absent)),
    };
    Ok((providers, warm))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

async fn log_end<E: std::fmt::Display>(part: &'static str, run: impl Future<Output = Result<(), E>>) {
    if let Err(error) = run.await {
        tracing::error!(part, %error, "a listener has ended");
    }
}
