//! A device of a load run, of either dialect: it connects, has turns, and now and then goes away and comes back.

use std::time::Duration;

use super::device::{Device, DeviceError, Login};
use super::interrupt::{self, How};
use super::script::Script;
use super::turn::{self, Turn};
use super::xiaozhi::{self, Board, BoardError, Mode, Path, Talk, Weather};
use crate::domain::ListenMode;

/// How long a connect may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What sort of device it is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// It speaks the native dialect.
    Native,
    /// It has stock xiaozhi firmware, and talks over this path.
    Xiaozhi(Path),
}

/// How devices talk.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Who ends a turn.
    pub mode: ListenMode,
    /// Break into each answer, in the place of hearing it out.
    pub interrupt: Option<How>,
    /// Frames that the gateway sends ahead of real time (`voice.reply.ahead_frames`).
    pub ahead: u32,
    /// Share of datagrams that are lost, in each direction; xiaozhi over MQTT only.
    pub loss: f64,
    /// Share of the device's datagrams that are overtaken; likewise.
    pub reorder: f64,
    /// Share of turns after which a xiaozhi device leaves: in turn with a goodbye, and without a word.
    pub leave: f64,
}

/// Why a turn, or a connection, failed.
#[derive(Debug, thiserror::Error)]
pub enum TalkerError {
    /// A native device.
    #[error(transparent)]
    Native(#[from] DeviceError),
    /// A board.
    #[error(transparent)]
    Board(#[from] BoardError),
}

impl TalkerError {
    /// The gateway is gone, rather than silent or wrong.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Native(DeviceError::Connection(_)) | Self::Board(BoardError::Connection(_)))
    }
}

/// A device that is connected.
pub enum Talker {
    /// See [`Kind::Native`].
    Native(Box<Device>),
    /// See [`Kind::Xiaozhi`].
    Board(Box<Board>),
}

/// What boards noticed, apart from their turns.
#[derive(Debug, Default)]
pub struct Noticed {
    /// What would trouble firmware.
    pub complaints: Vec<String>,
    /// What came at the wrong time.
    pub mistimed: Vec<String>,
    /// Holes in the numbers of datagrams that the weather did not make.
    pub lost: u32,
}

impl Talker {
    /// Connects; a board says hello too.
    pub async fn connect(
        login: &Login,
        kind: &Kind,
        manner: &Manner,
        script: &Script,
        seed: u64,
    ) -> Result<Self, TalkerError> {
        let Kind::Xiaozhi(path) = kind else {
            return Ok(Self::Native(Box::new(Device::connect(login, PATIENCE).await?)));
        };
        let mut board = Board::connect(login, path, script.frame_ms, PATIENCE).await?;
        board.weather = Weather::new(manner.loss, manner.reorder, seed);
        board.hello(PATIENCE).await?;
        Ok(Self::Board(Box::new(board)))
    }

    /// A turn; an interruption comes `into` the answer.
    pub async fn turn(&mut self, script: &Script, manner: &Manner, into: Duration) -> Result<Turn, TalkerError> {
        Ok(match (self, manner.interrupt) {
            (Self::Native(device), None) => turn::run(device, script, manner.mode, manner.ahead, &mut |_| {}).await?,
            (Self::Native(device), Some(how)) => interrupt::run(device, script, how, into).await?,
            (Self::Board(board), how) => {
                let mode = match (how, manner.mode) {
                    (Some(How::Voice), _) | (_, ListenMode::Realtime) => Mode::Realtime,
                    (_, ListenMode::Auto) => Mode::Auto,
                    (_, ListenMode::Manual) => Mode::Manual,
                };
                let talk = Talk { mode, ahead: manner.ahead, interrupt: how.map(|how| (how, into)) };
                xiaozhi::exchange(board, script, &talk).await?.turn
            }
        })
    }

    /// Ends the conversation and begins another on the same connection, where that can be done.
    pub async fn begins_anew(&mut self) -> Result<(), TalkerError> {
        if let Self::Board(board) = self
            && board.has_datagrams()
        {
            board.goodbye().await?;
            board.hello(PATIENCE).await?;
        }
        Ok(())
    }

    /// What was noticed in its life.
    pub fn noticed(&self) -> Noticed {
        let Self::Board(board) = self else { return Noticed::default() };
        Noticed {
            complaints: board.strict.complaints.clone(),
            mistimed: board.strict.timing.clone(),
            // what the weather took last left no hole
            lost: board.strict.lost.saturating_sub(board.weather.taken),
        }
    }

    /// Leaves.
    pub async fn disconnect(self) {
        match self {
            Self::Native(device) => device.disconnect().await,
            // a connection that is gone needs no goodbye
            Self::Board(mut board) => drop(board.goodbye().await),
        }
    }
}
