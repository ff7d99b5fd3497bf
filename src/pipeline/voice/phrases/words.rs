//! What the gateway says of its own accord, in the languages of its devices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Problem;

/// What is said of the gateway's own accord, by its occasion. In `[voice.reply.in_language.NAME]` NAME is a language as
/// devices have it ("zh", "zh-TW", "nl"); "zh" is also for devices with "zh-CN". What is not set is built in for de, en, es, fr,
/// it, ja, ko, pt, ru, zh and zh-Hant, where the text of all languages (`voice.reply.apology`, `sos.spoken`,
/// `session.xiaozhi.greeting` and `.farewell`) is the default one; else it is that text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    /// What is said when a stage fails.
    pub apology: Option<String>,
    /// What is said when too many talk at once; empty is the apology.
    pub busy: Option<String>,
    /// What is said to a person who called for help.
    pub help: Option<String>,
    /// What is said when the device's wake word was heard.
    pub greeting: Option<String>,
    /// What is said before an idle conversation is ended.
    pub farewell: Option<String>,
}

impl Words {
    fn new([apology, busy, help, greeting, farewell]: Five) -> Self {
        let own = |text: &str| Some(text.to_owned());
        Self {
            apology: own(apology),
            busy: own(busy),
            help: own(help),
            greeting: own(greeting),
            farewell: own(farewell),
        }
    }

    /// What is built in for a language.
    fn built_in(language: &str) -> Option<Self> {
        let found = BUILT_IN.iter().find(|(known, _)| *known == language)?;
        Some(Self::new(found.1))
    }

    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let texts = [("apology", &self.apology), ("help", &self.help)];
        let empty = texts.into_iter().filter(|(_, text)| text.as_ref().is_some_and(|text| text.trim().is_empty()));
        let problem = |key| {
            Problem::new(
                format!("{path}.{key}"),
                "is empty: that would be silence",
                "write one short sentence, or leave it out",
            )
        };
        empty.map(|(key, _)| problem(key)).collect()
    }
}

/// The texts of a configuration.
#[derive(Debug, Clone)]
pub struct Texts {
    /// The language of devices that have none of their own.
    pub language: String,
    /// For all languages, where nothing else is said.
    pub all: Words,
    /// By language.
    pub in_language: BTreeMap<String, Words>,
}

impl Texts {
    /// The languages that there is something for.
    pub(super) fn languages(&self) -> Vec<String> {
        let built_in = BUILT_IN.iter().map(|(language, _)| (*language).to_owned());
        let mut all: Vec<String> = self.in_language.keys().map(|key| key.to_lowercase()).chain(built_in).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What is said in a language of that list.
    pub(super) fn of(&self, language: &str) -> Words {
        let known = |language: &str| {
            self.in_language.iter().find(|(key, _)| key.to_lowercase() == language).map(|(_, words)| words)
        };
        let own = known(language).cloned().unwrap_or_default();
        let built_in = Words::built_in(language).unwrap_or_default();
        let usual = Words::built_in("en").unwrap_or_default();
        let choose = |own: Option<String>, all: &Option<String>, built_in: Option<String>, usual: &Option<String>| {
            own.or_else(|| built_in.filter(|_| all == usual)).or_else(|| all.clone())
        };
        Words {
            apology: choose(own.apology, &self.all.apology, built_in.apology, &usual.apology),
            busy: choose(own.busy, &self.all.busy, built_in.busy, &usual.busy),
            help: choose(own.help, &self.all.help, built_in.help, &usual.help),
            greeting: choose(own.greeting, &self.all.greeting, built_in.greeting, &usual.greeting),
            farewell: choose(own.farewell, &self.all.farewell, built_in.farewell, &usual.farewell),
        }
    }
}

/// The names under which the texts of a language may be found, best first.
pub(super) fn names(language: &str) -> Vec<String> {
    let tag = language.to_lowercase().replace('_', "-");
    let traditional = ["zh-tw", "zh-hk", "zh-mo", "zh-hant"].iter().any(|known| tag.starts_with(known));
    let base = tag.split('-').next().unwrap_or_default().to_owned();
    let mut names = vec![tag.clone()];
    names.extend(traditional.then(|| "zh-hant".to_owned()));
    names.push(base);
    names.dedup();
    names
}

/// Apology, busy, help, greeting, farewell.
type Five = [&'static str; 5];

const BUILT_IN: [(&str, Five); 11] = [
    (
        "en",
        [
            "Sorry, something went wrong. Please try again.",
            "A lot of people are talking to me right now. Please ask me again in a moment.",
            "Your call for help has been received.",
            "Yes?",
            "Goodbye.",
        ],
    ),
    (
        "zh",
        [
            "抱歉，出了点问题，请再说一次。",
            "现在和我说话的人太多了，请稍后再问我。",
            "你的求助已经收到。",
            "我在，请说。",
            "再见。",
        ],
    ),
    (
        "zh-hant",
        [
            "抱歉，出了點問題，請再說一次。",
            "現在和我說話的人太多了，請稍後再問我。",
            "你的求助已經收到。",
            "我在，請說。",
            "再見。",
        ],
    ),
    (
        "de",
        [
            "Entschuldigung, da ist etwas schiefgegangen. Bitte noch einmal.",
            "Gerade reden sehr viele mit mir. Bitte frag mich gleich noch einmal.",
            "Der Hilferuf ist angekommen.",
            "Ja?",
            "Auf Wiedersehen.",
        ],
    ),
    (
        "es",
        [
            "Lo siento, algo ha salido mal. Inténtalo otra vez.",
            "Ahora mismo me está hablando mucha gente. Pregúntame otra vez en un momento.",
            "Tu llamada de auxilio ha llegado.",
            "¿Sí?",
            "Hasta luego.",
        ],
    ),
    (
        "fr",
        [
            "Désolé, quelque chose n'a pas marché. Veuillez réessayer.",
            "Beaucoup de monde me parle en ce moment. Reposez-moi la question dans un instant.",
            "Votre appel à l'aide a été reçu.",
            "Oui ?",
            "Au revoir.",
        ],
    ),
    (
        "it",
        [
            "Mi dispiace, qualcosa è andato storto. Riprova, per favore.",
            "In questo momento mi stanno parlando in molti. Chiedimelo di nuovo tra poco.",
            "La richiesta di aiuto è arrivata.",
            "Sì?",
            "Arrivederci.",
        ],
    ),
    (
        "ja",
        [
            "すみません、うまくいきませんでした。もう一度お願いします。",
            "今たくさんの人と話しています。少ししてからもう一度聞いてください。",
            "助けを求める連絡は届きました。",
            "はい、どうぞ。",
            "さようなら。",
        ],
    ),
    (
        "ko",
        [
            "죄송합니다. 문제가 생겼습니다. 다시 말씀해 주세요.",
            "지금 많은 분과 이야기하고 있습니다. 잠시 후에 다시 물어봐 주세요.",
            "도움 요청이 접수되었습니다.",
            "네?",
            "안녕히 계세요.",
        ],
    ),
    (
        "pt",
        [
            "Desculpe, algo deu errado. Tente outra vez, por favor.",
            "Muita gente está falando comigo agora. Pergunte de novo daqui a pouco.",
            "O seu pedido de ajuda foi recebido.",
            "Sim?",
            "Até logo.",
        ],
    ),
    (
        "ru",
        [
            "Извините, что-то пошло не так. Повторите, пожалуйста.",
            "Сейчас со мной говорит много людей. Спросите меня ещё раз через минуту.",
            "Ваш вызов о помощи принят.",
            "Да?",
            "До свидания.",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        let all = Words::built_in("en").unwrap_or_default();
        Texts { language: "en".into(), all, in_language: BTreeMap::new() }
    }

    #[test]
    fn a_text_that_nobody_wrote_is_that_of_the_language() {
        assert_eq!(texts().of("zh").farewell.as_deref(), Some("再见。"));
        assert_eq!(texts().of("zh-hant").farewell.as_deref(), Some("再見。"));
        assert_eq!(texts().of("en"), texts().all);
    }

    #[test]
    fn a_text_that_somebody_wrote_is_for_all_languages_but_those_with_one_of_their_own() {
        let mut texts = texts();
        texts.all.greeting = Some("Servus!".into());
        texts.all.farewell = None;
        let own = Words { greeting: Some("你好呀".into()), ..Words::default() };
        texts.in_language.insert("ZH".into(), own);
        assert_eq!(texts.of("de").greeting.as_deref(), Some("Servus!"));
        assert_eq!(texts.of("zh").greeting.as_deref(), Some("你好呀"));
        assert_eq!(texts.of("de").farewell, None, "nothing is said in no language");
        assert_eq!(texts.of("zh").apology.as_deref(), Some("抱歉，出了点问题，请再说一次。"));
    }

    #[test]
    fn a_language_is_found_by_its_region_its_script_and_itself() {
        assert_eq!(names("zh-CN"), ["zh-cn", "zh"]);
        assert_eq!(names("zh_TW"), ["zh-tw", "zh-hant", "zh"]);
        assert_eq!(names("de"), ["de"]);
    }

    #[test]
    fn an_empty_apology_is_refused_and_an_empty_greeting_is_none() {
        let words = Words { apology: Some(" ".into()), greeting: Some(String::new()), ..Words::default() };
        let told: Vec<_> = words.check("voice.reply.in_language.zh").into_iter().map(|problem| problem.key).collect();
        assert_eq!(told, ["voice.reply.in_language.zh.apology"]);
    }
}
