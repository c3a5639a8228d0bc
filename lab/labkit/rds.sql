-- SPDX-License-Identifier: GPL-3.0-or-later
-- What tells a MySQL of RDS from a plain one, as far as a migration meets it: the procedures with their argument order,
-- refusals, messages, result rows and sleeps, the configuration table, and an administrator who may do little.
-- Loaded by root over the socket. rds.py adds the procedures for the default channel, whose names depend on the version.
SET SESSION sql_log_bin = 0;
CREATE USER IF NOT EXISTS rdsadmin@localhost IDENTIFIED WITH auth_socket AS 'root';
GRANT ALL ON *.* TO rdsadmin@localhost WITH GRANT OPTION;
CREATE TABLE IF NOT EXISTS mysql.rds_configuration (
  name varchar(100) NOT NULL PRIMARY KEY, value varchar(100), description varchar(300)) ENGINE=InnoDB;
INSERT IGNORE INTO mysql.rds_configuration VALUES
  ('binlog retention hours', NULL, 'binlog retention hours specifies the duration in hours before binary logs are automatically deleted.'),
  ('source delay', '0', 'source delay specifies replication delay in seconds between current instance and its master.'),
  ('target delay', '0', 'target delay specifies replication delay in seconds between current instance and its future read-replica.');
CREATE TABLE IF NOT EXISTS mysql.rds_reserved_users (user varchar(64) NOT NULL, host varchar(64) NOT NULL, PRIMARY KEY (user, host));
INSERT IGNORE INTO mysql.rds_reserved_users VALUES ('rdsadmin', 'localhost'), ('rdsrepladmin', '%'), ('mysql.sys', 'localhost');
DELIMITER $$
CREATE DEFINER=rdsadmin@localhost FUNCTION mysql.rds_replication_service_state_for_channel(p_channel varchar(64))
  RETURNS enum('ON', 'OFF', 'BROKEN', 'NOT_EXIST') READS SQL DATA
BEGIN
  DECLARE v_state enum('ON', 'OFF', 'BROKEN', 'NOT_EXIST') DEFAULT 'NOT_EXIST';
  SELECT CASE WHEN c.service_state = 'ON' AND a.service_state = 'ON' THEN 'ON'
              WHEN c.service_state = 'OFF' AND a.service_state = 'OFF' THEN 'OFF' ELSE 'BROKEN' END INTO v_state
    FROM performance_schema.replication_connection_status c
    JOIN performance_schema.replication_applier_status a USING (channel_name)
    WHERE channel_name = CONVERT(TRIM(p_channel) USING utf8mb4) COLLATE utf8mb4_bin;
  RETURN v_state;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.lab_refuse(IN p_channel varchar(64), IN p_default text, IN p_named text)
BEGIN
  SET @lab_refusal = IF(TRIM(p_channel) = '', p_default, p_named);
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @lab_refusal;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.lab_refuse_missing(IN p_channel varchar(64), IN p_verb varchar(20))
BEGIN
  IF mysql.rds_replication_service_state_for_channel(p_channel) = 'NOT_EXIST' THEN
    CALL mysql.lab_refuse(p_channel,
      CONCAT('You can''t ', p_verb, ' replication because the replica isn''t configured. First call mysql.rds_set_external_master.'),
      'The given channel does not exist. Run SHOW REPLICA STATUS\\G to find all existing channel names.');
  END IF;
END$$
-- Runs a statement of replication, whatever it says about the binary log afterwards.
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.lab_run(IN p_statement text)
BEGIN
  SET @lab_statement = p_statement;
  PREPARE lab_prepared FROM @lab_statement;
  EXECUTE lab_prepared;
  DEALLOCATE PREPARE lab_prepared;
  SET @lab_statement = NULL;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.lab_change_source(
  IN p_host varchar(255), IN p_port int, IN p_user text, IN p_password text, IN p_position text, IN p_ssl tinyint,
  IN p_delay int, IN p_channel varchar(64))
BEGIN
  DECLARE v_twice int;
  IF @@session.autocommit = 0 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Invalid operation. To run this procedure, autocommit must be enabled.';
  END IF;
  IF p_delay IS NULL OR p_delay NOT BETWEEN 0 AND 86400 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'For source delay the value must be between 0 and 86400 inclusive.';
  END IF;
  IF mysql.rds_replication_service_state_for_channel(p_channel) IN ('ON', 'BROKEN') THEN
    CALL mysql.lab_refuse(p_channel,
      'You can''t modify replication because replication is running. First call mysql.rds_stop_replication.',
      'You can''t modify the given channel because replication is running. First call mysql.rds_stop_replication_for_channel.');
  END IF;
  SELECT COUNT(*) INTO v_twice FROM performance_schema.replication_connection_configuration
    WHERE host = TRIM(p_host) AND port = p_port
    AND channel_name <> CONVERT(TRIM(p_channel) USING utf8mb4) COLLATE utf8mb4_bin;
  IF v_twice > 0 THEN
    SET @lab_refusal = CONCAT('Use multiple channels to replicate from the host: ', p_host, ' and port: ', p_port, ' is not supported.');
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @lab_refusal;
  END IF;
  CALL mysql.lab_run(CONCAT('CHANGE REPLICATION SOURCE TO SOURCE_HOST = ', QUOTE(TRIM(p_host)), ', SOURCE_PORT = ', p_port,
    ', SOURCE_USER = ', QUOTE(TRIM(p_user)), ', SOURCE_PASSWORD = ', QUOTE(TRIM(p_password)), ', SOURCE_SSL = ', p_ssl,
    p_position, ', SOURCE_DELAY = ', p_delay, ' FOR CHANNEL ', QUOTE(TRIM(p_channel))));
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_external_source_for_channel(
  IN p_host varchar(255), IN p_port int, IN p_user text, IN p_password text, IN p_file varchar(50), IN p_position bigint,
  IN p_ssl tinyint(1), IN p_channel varchar(64))
BEGIN
  CALL mysql.lab_change_source(p_host, p_port, p_user, p_password, CONCAT(', SOURCE_AUTO_POSITION = 0, SOURCE_LOG_FILE = ',
    QUOTE(TRIM(p_file)), ', SOURCE_LOG_POS = ', p_position), p_ssl, 0, p_channel);
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_external_source_with_delay_for_channel(
  IN p_host varchar(255), IN p_port int, IN p_user text, IN p_password text, IN p_file varchar(50), IN p_position bigint,
  IN p_ssl tinyint(1), IN p_delay int, IN p_channel varchar(64))
BEGIN
  CALL mysql.lab_change_source(p_host, p_port, p_user, p_password, CONCAT(', SOURCE_AUTO_POSITION = 0, SOURCE_LOG_FILE = ',
    QUOTE(TRIM(p_file)), ', SOURCE_LOG_POS = ', p_position), p_ssl, p_delay, p_channel);
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_external_source_with_auto_position_for_channel(
  IN p_host varchar(255), IN p_port int, IN p_user text, IN p_password text, IN p_ssl tinyint(1), IN p_delay int,
  IN p_channel varchar(64))
BEGIN
  CALL mysql.lab_change_source(p_host, p_port, p_user, p_password, ', SOURCE_AUTO_POSITION = 1', p_ssl, p_delay, p_channel);
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_source_auto_position_for_channel(
  IN p_mode tinyint(1), IN p_channel varchar(64))
BEGIN
  CALL mysql.lab_refuse_missing(p_channel, 'modify');
  CALL mysql.lab_run(CONCAT('STOP REPLICA FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  CALL mysql.lab_run(CONCAT('CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = ', IF(p_mode, 1, 0), ' FOR CHANNEL ',
    QUOTE(TRIM(p_channel))));
  CALL mysql.lab_run(CONCAT('START REPLICA FOR CHANNEL ', QUOTE(TRIM(p_channel))));
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_source_delay_for_channel(IN p_delay int, IN p_channel varchar(64))
BEGIN
  CALL mysql.lab_refuse_missing(p_channel, 'modify');
  IF p_delay IS NULL OR p_delay NOT BETWEEN 0 AND 86400 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'For source delay the value must be between 0 and 86400 inclusive.';
  END IF;
  CALL mysql.lab_run(CONCAT('STOP REPLICA SQL_THREAD FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  CALL mysql.lab_run(CONCAT('CHANGE REPLICATION SOURCE TO SOURCE_DELAY = ', p_delay, ' FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  CALL mysql.lab_run(CONCAT('START REPLICA SQL_THREAD FOR CHANNEL ', QUOTE(TRIM(p_channel))));
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_start_replication_for_channel(IN p_channel varchar(64))
BEGIN
  DECLARE v_state varchar(10) DEFAULT mysql.rds_replication_service_state_for_channel(p_channel);
  CALL mysql.lab_refuse_missing(p_channel, 'start');
  IF v_state = 'ON' THEN
    CALL mysql.lab_refuse(p_channel, 'Replication may already be running. Call rds_stop_replication to stop replication',
      CONCAT('Replication may already be running for channel. Run SHOW REPLICA STATUS FOR CHANNEL ', QUOTE(TRIM(p_channel)), '\\G .'));
  ELSEIF v_state = 'BROKEN' THEN
    CALL mysql.lab_refuse(p_channel, 'Replication might be running. First call mysql.rds_stop_replication.',
      'The replication on given channel might be running. First call mysql.rds_stop_replication_for_channel.');
  END IF;
  DO SLEEP(1);
  CALL mysql.lab_run(CONCAT('START REPLICA FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  DO SLEEP(2);
  -- A channel that is still connecting counts as failed here, and goes on connecting.
  IF mysql.rds_replication_service_state_for_channel(p_channel) <> 'ON' THEN
    CALL mysql.lab_refuse(p_channel, 'Slave has encountered an error. Run SHOW SLAVE STATUS\\G; to see the error.',
      CONCAT('Start replication failed. To see the error, run SHOW REPLICA STATUS FOR CHANNEL ', QUOTE(TRIM(p_channel)), '\\G .'));
  END IF;
  SELECT IF(TRIM(p_channel) = '', 'Replication started. Slave is now running normally.',
    CONCAT('Replication started for channel ', QUOTE(TRIM(p_channel)), ' and replication is now running normally.')) AS Message;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_start_replication_until_gtid_for_channel(
  IN p_gtid text, IN p_channel varchar(64))
BEGIN
  CALL mysql.lab_refuse_missing(p_channel, 'start');
  IF mysql.rds_replication_service_state_for_channel(p_channel) IN ('ON', 'BROKEN') THEN
    CALL mysql.lab_refuse(p_channel, 'Replication may already be running. Call rds_stop_replication to stop replication',
      'Replication may already be running. Call rds_stop_replication_for_channel to stop replication.');
  ELSEIF @@global.replica_parallel_workers > 1 THEN
    CALL mysql.lab_refuse(p_channel, 'rds_start_replication_until_gtid is not supported for multi-threaded slaves',
      'rds_start_replication_until_gtid_for_channel is not supported for multi-threaded replicas.');
  ELSEIF p_gtid IS NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Invalid input: gtid cannot be NULL';
  END IF;
  CALL mysql.lab_run(CONCAT('START REPLICA UNTIL SQL_AFTER_GTIDS = ', QUOTE(p_gtid), ' FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  DO SLEEP(2);
  -- Also where the end was reached within the two seconds.
  IF mysql.rds_replication_service_state_for_channel(p_channel) <> 'ON' THEN
    CALL mysql.lab_refuse(p_channel, 'Slave has encountered an error. Run SHOW SLAVE STATUS\\G; to see the error.',
      CONCAT('Replication for specified channel encountered an error. Run SHOW REPLICA STATUS FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  END IF;
  SELECT CONCAT('Replication started until SQL_AFTER_GTIDS = ', QUOTE(p_gtid),
    IF(TRIM(p_channel) = '', '', CONCAT(' for channel ', QUOTE(TRIM(p_channel))))) AS Message;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_stop_replication_for_channel(IN p_channel varchar(64))
BEGIN
  CALL mysql.lab_refuse_missing(p_channel, 'stop');
  IF mysql.rds_replication_service_state_for_channel(p_channel) = 'OFF' THEN
    CALL mysql.lab_refuse(p_channel, 'Slave is already stopped or may not be configured. Run SHOW SLAVE STATUS\\G;',
      'Replication is already stopped for the given channel. Run SHOW REPLICA STATUS\\G .');
  END IF;
  DO SLEEP(1);
  CALL mysql.lab_run(CONCAT('STOP REPLICA FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  DO SLEEP(2);
  SELECT IF(TRIM(p_channel) = '', 'Slave is now down or disabled',
    CONCAT('Replication for channel ', QUOTE(TRIM(p_channel)), ' is down or disabled.')) AS Message;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_reset_external_source_for_channel(IN p_channel varchar(64))
BEGIN
  IF mysql.rds_replication_service_state_for_channel(p_channel) = 'NOT_EXIST' THEN
    CALL mysql.lab_refuse(p_channel,
      'You can''t reset replication because replication isn''t configured. First run mysql.rds_set_external_master.',
      'The given channel does not exist. Run SHOW REPLICA STATUS\\G to find all existing channel names.');
  END IF;
  IF mysql.rds_replication_service_state_for_channel(p_channel) <> 'OFF' THEN
    CALL mysql.lab_run(CONCAT('STOP REPLICA FOR CHANNEL ', QUOTE(TRIM(p_channel))));
    DO SLEEP(2);
  END IF;
  CALL mysql.lab_run(CONCAT('RESET REPLICA ALL FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  SELECT IF(TRIM(p_channel) = '', 'Slave has been reset',
    CONCAT('Replication has been reset for channel ', QUOTE(TRIM(p_channel)))) AS message;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_skip_repl_error_for_channel(IN p_channel varchar(64))
BEGIN
  IF @@global.gtid_mode = 'ON' THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Skipping errors isn''t supported with GTIDs. Use mysql.rds_skip_transaction_with_gtid.';
  END IF;
  CALL mysql.lab_refuse_missing(p_channel, 'modify');
  SET GLOBAL sql_replica_skip_counter = 1;
  CALL mysql.lab_run(CONCAT('START REPLICA FOR CHANNEL ', QUOTE(TRIM(p_channel))));
  SELECT 'Statement in error has been skipped' AS Message;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_skip_transaction_with_gtid(IN p_gtid text)
BEGIN
  SET gtid_next = p_gtid;
  START TRANSACTION;
  COMMIT;
  SET gtid_next = 'AUTOMATIC';
  SELECT 'Transaction has been skipped successfully.' AS Message;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_external_source_gtid_purged(
  IN p_uuid varchar(36), IN p_start bigint, IN p_end bigint)
BEGIN
  DECLARE v_active int;
  DECLARE v_interval text DEFAULT CONCAT(p_uuid, ':', p_start, '-', p_end);
  SELECT COUNT(*) INTO v_active FROM performance_schema.replication_connection_status c
    JOIN performance_schema.replication_applier_status a USING (channel_name)
    WHERE c.service_state = 'ON' OR a.service_state = 'ON';
  IF v_active > 0 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'You can''t modify gtid_purged because replication is already running.';
  ELSEIF NOT COALESCE(p_uuid REGEXP '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$', 0) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Invalid input value for server_uuid';
  ELSEIF p_start < 1 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Invalid input value for start_pos. The value of start_pos should be greater than or equal to 1';
  ELSEIF p_end < p_start THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Invalid input value for end_pos. The value of end_pos should be greater than or equal to start_pos value';
  ELSEIF LOWER(p_uuid) = LOWER(@@global.server_uuid) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'You cannot change the GTID set belongs to the current instance';
  ELSEIF GTID_SUBTRACT(v_interval, GTID_SUBTRACT(v_interval, @@global.gtid_executed)) <> '' THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'The GTID set must be a superset of current @@GLOBAL.GTID_PURGED value';
  END IF;
  SET GLOBAL gtid_purged = CONCAT('+', v_interval);
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_configuration(IN p_name varchar(30), IN p_value int)
BEGIN
  DECLARE v_known int;
  SELECT COUNT(*) INTO v_known FROM mysql.rds_configuration WHERE name = p_name;
  IF v_known = 0 THEN
    SET @lab_refusal = CONCAT('Cannot set unknown configuration parameter ', QUOTE(p_name), ' using mysql.rds_set_configuration.');
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @lab_refusal;
  ELSEIF p_name = 'binlog retention hours' AND p_value NOT BETWEEN 1 AND 168 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'For binlog retention hours the value must be between 1 and 168 inclusive or be NULL';
  ELSEIF p_name = 'target delay' AND (p_value IS NULL OR p_value NOT BETWEEN 0 AND 86400) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'For target delay the value must be between 0 and 86400 inclusive';
  END IF;
  BEGIN
    DECLARE v_logging boolean DEFAULT @@sql_log_bin;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN SET sql_log_bin = v_logging; RESIGNAL; END;
    SET sql_log_bin = OFF;
    UPDATE mysql.rds_configuration SET value = p_value WHERE name = p_name;
    COMMIT;
    SET sql_log_bin = v_logging;
  END;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_show_configuration()
BEGIN
  SELECT name, value, description FROM mysql.rds_configuration;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.lab_refuse_kill(IN p_thread bigint)
BEGIN
  DECLARE v_user text;
  SELECT p.user INTO v_user FROM information_schema.processlist p JOIN mysql.rds_reserved_users r
    ON r.user = CONVERT(p.user USING utf8mb4) COLLATE utf8mb4_0900_ai_ci WHERE p.id = p_thread AND p_thread <> CONNECTION_ID() LIMIT 1;
  IF v_user IS NOT NULL THEN
    SET @lab_refusal = CONCAT('CANNOT KILL ', UPPER(v_user), ' SESSION');
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @lab_refusal;
  END IF;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_kill(IN p_thread bigint)
BEGIN
  CALL mysql.lab_refuse_kill(p_thread);
  KILL p_thread;
END$$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_kill_query(IN p_thread bigint)
BEGIN
  CALL mysql.lab_refuse_kill(p_thread);
  KILL QUERY p_thread;
END$$
DELIMITER ;
