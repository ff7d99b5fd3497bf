-- MySQL dump 10.13  Distrib 8.4.0, for Linux (x86_64); it's ours, written by hand
/*!999999\- enable the sandbox mode */
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;

DROP TABLE IF EXISTS `ai_agent_chat_audio`;
CREATE TABLE `ai_agent_chat_audio` (
  `id` varchar(32) NOT NULL,
  `audio` longblob,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `ai_agent_chat_audio` VALUES ('1',_binary 'OggS\0\');INSERT INTO `ai_device` VALUES (\'x'),('2',0x4F676753);

-- another order of columns, and one that nobody knows
CREATE TABLE `ai_device` (
  `mac_address` varchar(50) DEFAULT NULL COMMENT 'the address, (of the board) it''s',
  `id` varchar(32) NOT NULL,
  `alias` varchar(64) DEFAULT NULL,
  `shelf` enum('a','b),(c') DEFAULT 'a',
  `agent_id` varchar(32) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_mac` (`mac_address`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='boards;';
LOCK TABLES `ai_device` WRITE;
/*!40000 ALTER TABLE `ai_device` DISABLE KEYS */;
INSERT INTO `ai_device` VALUES ('F4:12:FA:00:00:01','d1','Kitchen; mum\'s','b),(c','agent-1'),('f4-12-fa-00-00-02','d2',NULL,'a','agent-1'),
('f4:12:fa:00:00:03','d3','Hall','a','agent-2'),('f4:12:fa:00:00:03','d4','Hall again','a','agent-2'),
('not a mac','d5','Attic','a','agent-9'),(NULL,'d6','Cellar','a','agent-1');
/*!40000 ALTER TABLE `ai_device` ENABLE KEYS */;
UNLOCK TABLES;

CREATE TABLE `ai_agent` (
  `id` varchar(32) NOT NULL,
  `agent_name` varchar(64),
  `asr_model_id` varchar(32),
  `llm_model_id` varchar(32),
  `vllm_model_id` varchar(32),
  `tts_model_id` varchar(32),
  `tts_voice_id` varchar(32),
  `vad_model_id` varchar(64),
  `mem_model_id` varchar(32),
  `system_prompt` text,
  `summary_memory` text,
  `lang_code` varchar(10),
  `language` varchar(10),
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
INSERT INTO `ai_agent` (`agent_name`,`id`,`system_prompt`,`summary_memory`,`lang_code`,`language`,`asr_model_id`,`llm_model_id`,`vllm_model_id`,`tts_model_id`,`tts_voice_id`,`vad_model_id`,`mem_model_id`) VALUES
('Butler','agent-1','You are {{assistant_name}}.\nSay \"sir\" -- and nothing; else.','Anna takes her tea without milk.','en_US','英文','ASR_Local','LLM_Big','VLLM_Eye','TTS_Open','VOICE_2','VAD_Silero','Memory_short'),
('小助手','agent-2','你是{{assistant_name}}，只说中文。',NULL,'zh','中文','ASR_Local','LLM_Big','VLLM_Eye','TTS_Edge','VOICE_9','VAD_Silero','Memory_none');

CREATE TABLE `ai_model_config` (
  `id` varchar(32) NOT NULL,
  `model_type` varchar(20),
  `model_code` varchar(50),
  `is_default` tinyint(1) DEFAULT '0',
  `config_json` json DEFAULT NULL,
  PRIMARY KEY (`id`)
);
INSERT INTO `ai_model_config` VALUES
('LLM_Big','LLM','BigLLM',1,'{\"type\": \"openai\", \"base_url\": \"https://llm.example/v4/\", \"model_name\": \"big-1\", \"api_key\": \"sk-llm-secret\"}'),
('LLM_Odd','LLM','OddLLM',0,'{\"type\": \"dify\"'),
('VLLM_Eye','VLLM','EyeVLLM',1,'{\"type\": \"openai\", \"url\": \"https://eye.example/v1\", \"model_name\": \"eye-1\", \"api_key\": \"你的api_key\"}'),
('TTS_Open','TTS','OpenTTS',1,'{\"type\": \"openai\", \"api_url\": \"http://tts.example:8880/v1/audio/speech\", \"model\": \"tts-1\", \"voice\": \"onyx\", \"api_key\": \"sk-tts-secret\"}'),
('TTS_Edge','TTS','EdgeTTS',0,'{\"type\": \"edge\", \"voice\": \"zh-CN-XiaoxiaoNeural\"}'),
('ASR_Local','ASR','FunASR',1,'{\"type\": \"fun_local\", \"model_dir\": \"models/x\"}'),
('VAD_Silero','VAD','SileroVAD',1,'{\"type\": \"silero\", \"min_silence_duration_ms\": \"700\"}'),
('Memory_short','Memory','mem_local_short',0,'{\"type\": \"mem_local_short\"}');

CREATE TABLE `ai_tts_voice` (`id` varchar(32) NOT NULL, `tts_model_id` varchar(32), `name` varchar(20), `tts_voice` varchar(50));
INSERT INTO `ai_tts_voice` VALUES ('VOICE_2','TTS_Open','Nova','nova'),('VOICE_9','TTS_Edge','X','zh-CN-X');

CREATE TABLE `sys_params` (`id` bigint NOT NULL, `param_code` varchar(100), `param_value` varchar(2000), `value_type` varchar(20));
INSERT INTO `sys_params` VALUES (1,'close_connection_no_voice_time','90','number'),(2,'exit_commands','退出;关闭','array'),
(3,'wakeup_words','你好小智;小爱同学','array'),(4,'enable_greeting','false','boolean'),(5,'end_prompt.enable','true','boolean'),
(6,'end_prompt.prompt','say goodbye','string'),(7,'system_error_response','Sorry, I\'m busy.','string'),(8,'server.secret','hush-hush-secret','string'),
(9,'server.mqtt_gateway','null','string'),(10,'device_max_output_size','0','number');
-- Dump completed
