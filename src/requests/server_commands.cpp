#include "chronos/requests/server_commands.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/config/warning.h"
#include "chronos/db/server.h"
#include "chronos/pgdata/exclude.h"
#include "chronos/repo/annotations.h"
#include "chronos/repo/places.h"
#include "chronos/repo/side/owner.h"
#include "chronos/requests/expire_options.h"
#include "chronos/requests/places.h"
#include "chronos/requests/repositories.h"
#include "requests/local_paths.h"

namespace chronos::requests {
namespace {

ops::stanza::StanzaRequest stanza_request(const config::Config& config,
                                          std::vector<repo::Repository> repositories) {
    return {config.stanza(),
            std::move(repositories),
            config.get_string("lock-path"),
            config.get_string("exec-id"),
            config.get_string("spool-path"),
            config.get_string("pg1-path")};
}

/// The control file of the configured data directory or, without one, of the server's.
Result<pgdata::ControlFile> control_file_of(const config::Config& config,
                                            const db::ServerFacts& server) {
    const std::string configured = config.get_string("pg1-path");
    const std::string& pgdata = configured.empty() ? server.data_directory : configured;
    const pgdata::ControlFile control = CHRONOS_TRY(pgdata::read_control_file(pgdata));
    if (control.system_id == server.system_id && control.major() == server.major()) return control;
    return Error(ErrorKind::db_mismatch, "'" + pgdata + "' and the server that runs in '" +
                                             server.data_directory + "' are different clusters")
        .with_hint("The pg1-path and pg1-port settings likely reference different clusters.");
}

/// Each warning of the configuration, as a note where what it means is not certain.
std::vector<ops::check::CheckFinding> configuration_findings(const config::Config& config) {
    constexpr std::string_view kHint = "\nHINT: ";
    std::vector<ops::check::CheckFinding> findings;
    for (const std::string& warning : config.warnings()) {
        const std::size_t hint = std::min(warning.find(kHint), warning.size());
        ops::check::CheckFinding& finding = findings.emplace_back();
        finding.test = "configuration";
        finding.status = ops::check::CheckStatus::note;
        if (warning.find(config::kWillRefuse) != std::string::npos) {
            finding.status = ops::check::CheckStatus::failure;
            finding.kind = ErrorKind::option_invalid_value;
        }
        finding.message = warning.substr(0, hint);
        if (hint < warning.size()) finding.hint = warning.substr(hint + kHint.size());
        std::replace(finding.message.begin(), finding.message.end(), '\n', ' ');
    }
    return findings;
}

ops::backup::CopyFrom copy_from(const config::Config& config) {
    const std::string standby = config.get_string("backup-standby");
    if (standby == "y") return ops::backup::CopyFrom::standby;
    return standby == "prefer" ? ops::backup::CopyFrom::either : ops::backup::CopyFrom::primary;
}

Result<> check_supported(const config::Config& config, const repo::Repository& repository) {
    const std::string standby = config.get_string("backup-standby");
    if (!config.get_bool("online") && standby != "n")
        log_warn("option backup-standby has no effect on an offline backup");
    const config::BoolName hardlink{"repo-hardlink", repository.key};
    if (config.get_bool(hardlink))
        log_warn(written(hardlink) + " has no effect: this version never links files of backups");
    return {};
}

void set_compression(const config::Config& config, const repo::Repository& repository,
                     ops::backup::BackupRequest& request) {
    request.compress_type = compress::parse_compress_type(config.get_string("compress-type"))
                                .value_or(request.compress_type);
    if (!config.get_bool("compress")) request.compress_type = compress::CompressType::none;
    if (config.has("compress-level"))
        request.compress_level = static_cast<int>(config.get_int("compress-level"));
    const auto own =
        compress::parse_compress_type(config.get_string({"repo-compress-type", repository.key}));
    if (own && *own != request.compress_type) {
        request.compress_type = *own;
        request.compress_level.reset();  // it is that of the other codec
    }
    request.compress_level_network = static_cast<int>(config.get_int("compress-level-network"));
}

void set_bundles(const config::Config& config, const repo::Repository& repository,
                 ops::backup::BackupRequest& request) {
    request.bundle = config.get_bool({"repo-bundle", repository.key});
    request.bundle_size = config.get_size({"repo-bundle-size", repository.key});
    request.bundle_limit = config.get_size({"repo-bundle-limit", repository.key});
    request.block = request.bundle && config.get_bool({"repo-block", repository.key});
    ops::backup::BlockRules& rules = request.block_rules;
    rules.always = request.block && config.get_bool({"repo-block-always", repository.key});
    rules.super_block_size = config.get_size({"repo-block-size-super", repository.key});
    rules.super_block_size_full = config.get_size({"repo-block-size-super-full", repository.key});
    rules.size_map = config.get_number_map({"repo-block-size-map", repository.key});
    rules.age_map = config.get_number_map({"repo-block-age-map", repository.key});
    rules.checksum_map = config.get_number_map({"repo-block-checksum-size-map", repository.key});
}

Result<ops::backup::BackupRequest> backup_request(const config::Config& config,
                                                  const repo::Repository& repository) {
    ops::backup::BackupRequest request;
    request.stanza = config.stanza();
    request.repository = repository;
    request.lock_keys = config.has("repo") ? std::vector{repository.key} : config.repo_keys();
    request.lock_path = config.get_string("lock-path");
    request.exec_id = config.get_string("exec-id");
    request.pgdata = config.get_string("pg1-path");
    request.type =
        repo::parse_backup_type(config.get_string("type")).value_or(repo::BackupType::incr);
    set_compression(config, repository, request);
    request.force = config.get_bool("force");
    request.copy_from = copy_from(config);
    request.archive_check = config.get_bool("archive-check");
    request.archive_copy = config.get_bool("archive-copy");
    request.archive_mode_check = config.get_bool("archive-mode-check");
    if (config.has("checksum-page")) request.checksum_page = config.get_bool("checksum-page");
    request.page_errors_stop =
        config.has("checksum-page-error") && config.get_bool("checksum-page-error");
    request.page_header_check = config.get_bool("page-header-check");
    request.delta = config.get_bool("delta");
    request.start_fast = config.get_bool("start-fast");
    request.resume = config.get_bool("resume");
    request.symlink = config.get_bool({"repo-symlink", repository.key});
    set_bundles(config, repository, request);
    request.exclude = config.get_list("exclude");
    CHRONOS_TRY(pgdata::check_excludes(request.exclude));
    request.annotations = config.get_hash("annotation");
    CHRONOS_TRY(repo::check_annotations(request.annotations));
    request.process_max = static_cast<std::size_t>(config.get_int("process-max"));
    request.buffer_size = config.get_size("buffer-size");
    request.manifest_save_threshold = config.get_size("manifest-save-threshold");
    request.archive_timeout = config.get_time("archive-timeout");
    request.db_timeout = config.get_time("db-timeout");
    return request;
}

/// Those of backup-repos, the one of --repo, or the first.
Result<std::vector<unsigned>> backup_keys(const config::Config& config) {
    const std::vector<unsigned> all = config.repo_keys();
    if (config.has("repo")) return std::vector{static_cast<unsigned>(config.get_int("repo"))};
    const std::string wanted = config.get_string("backup-repos");
    if (wanted == "all") return all;
    if (wanted.empty()) {
        log_info("repo option not specified, defaulting to repo" + std::to_string(all.front()));
        return std::vector{all.front()};
    }
    std::vector<unsigned> keys;
    for (const std::string_view word : split(wanted, ',')) {
        const auto number = parse_uint(trim(word));
        const bool known = number && std::ranges::find(all, *number) != all.end();
        if (!known || std::ranges::find(keys, *number) != keys.end())
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(wanted) + "' is not valid for 'backup-repos' option")
                .with_hint("Name configured repositories, as in \"1,2\", or \"all\".");
        keys.push_back(static_cast<unsigned>(*number));
    }
    return keys;
}

constexpr std::string_view kSocketQuery =
    "SELECT pg_catalog.current_setting('port'),"
    " pg_catalog.current_setting('unix_socket_directories')";

/// `directories` is unix_socket_directories: names with commas between them, some in quotes.
bool has_directory(std::string_view directories, const std::string& wanted) {
    for (const std::string_view entry : split(directories, ',')) {
        std::string_view name = trim(entry);
        if (name.size() > 1 && name.starts_with('"') && name.ends_with('"'))
            name = name.substr(1, name.size() - 2);
        if (repo::lies_in(std::string(name), wanted) && repo::lies_in(wanted, std::string(name)))
            return true;
    }
    return false;
}

/// What of the configuration leads elsewhere than to the server at hand, whose session may have
/// been reached without it; "" if nothing does.
std::string wrong_way(const config::Config& config, const std::string& port,
                      const std::string& directories) {
    std::string wrong;
    if (config.has("pg1-port") && std::to_string(config.get_int("pg1-port")) != port)
        wrong = "pg1-port is " + std::to_string(config.get_int("pg1-port")) +
                ", and this server listens on port " + port;
    const std::string socket = config.get_string("pg1-socket-path");
    if (!socket.empty() && !has_directory(directories, socket))
        wrong += (wrong.empty() ? "" : "; ") + std::string("pg1-socket-path is '") + socket +
                 "', and the sockets of this server are in '" + directories + "'";
    return wrong;
}

/// Whether commands on a shell meet this server: a pooler may have another address.
Result<> check_way_to_server(Context& context, db::Connection& connection,
                             const db::ServerFacts& server) {
    const auto rows = connection.query(kSocketQuery);
    if (!rows || rows->size() != 1 || (*rows)[0].size() != 2) return {};
    const std::string port = (*rows)[0][0].value_or("");
    const std::string directories = (*rows)[0][1].value_or("");
    const std::string wrong = wrong_way(context.config, port, directories);
    if (wrong.empty()) return {};
    const auto other = connect_to_server(context);
    const auto facts =
        other ? db::read_server_facts(**other) : Result<db::ServerFacts>(other.error());
    CHRONOS_TRY(context.cancel.check());
    if (facts && facts->system_id == server.system_id &&
        facts->data_directory == server.data_directory)
        return {};
    const std::string there = facts
                                  ? "there is the one that runs in '" + facts->data_directory + "'"
                                  : one_line(facts.error().message());
    return Error(ErrorKind::db_connect,
                 "commands on a shell do not reach this server: " + wrong + " (" + there + ")")
        .with_hint("In the configuration: pg1-port=" + port +
                   ", and a pg1-socket-path of this server, or none.");
}

/// With what only the options know: everything but the stanza.
Result<ops::backup::BackupRequest> request_for(const config::Config& config, unsigned key) {
    const repo::Repository repository = CHRONOS_TRY(open_repository(config, key));
    CHRONOS_TRY(check_supported(config, repository));
    return backup_request(config, repository);
}

}  // namespace

Result<std::unique_ptr<db::Connection>> connect_to_server(Context& context) {
    const config::Config& config = context.config;
    db::ConnectOptions options;
    options.database = config.get_string("pg1-database");
    options.host = config.get_string("pg1-socket-path");
    // A port that nobody set leaves the choice to libpq, so that PGPORT counts.
    if (config.has("pg1-port")) options.port = static_cast<unsigned>(config.get_int("pg1-port"));
    options.user = config.get_string("pg1-user");
    options.query_timeout = config.get_time("db-timeout");
    return db::connect(options, context.cancel);
}

Result<flows::BackupRequest> backup_request(Context& context, db::Connection* connection) {
    const config::Config& config = context.config;
    const std::vector<unsigned> keys = CHRONOS_TRY(backup_keys(config));
    flows::BackupRequest request;
    std::string data_directory = config.get_string("pg1-path");
    if (connection != nullptr) {
        const auto server = CHRONOS_TRY(db::read_server_facts(*connection));
        request.control = CHRONOS_TRY(control_file_of(config, server));
        data_directory = server.data_directory;
    } else {
        request.control = CHRONOS_TRY(pgdata::read_control_file(data_directory));
    }
    CHRONOS_TRY(check_places(config, data_directory));
    request.stanza = stanza_request(config, {});
    for (const unsigned key : keys) request.targets.push_back({key, request_for(config, key)});
    request.only_repository = config.repo_keys().size() == 1;
    if (config.get_string("backup-repos").empty() && !config.has("repo"))
        for (const unsigned other : config.repo_keys())
            if (other != keys.front())
                request.others.emplace_back(other, open_repository(config, other));
    if (config.get_bool("expire-auto"))
        request.expire = [&config](unsigned key) { return expire_request_in(config, key); };
    return request;
}

std::optional<flows::AwaitTurn> turn_request(const Context& context,
                                             const flows::BackupRequest& request) {
    const config::Config& config = context.config;
    if (!config.has("turn")) return std::nullopt;
    flows::AwaitTurn await;
    await.turn.stanza = config.stanza();
    await.turn.schedule = config.get_string("turn");
    await.turn.due = config.get_int("turn-due");
    await.turn.attempt = static_cast<unsigned>(config.get_int("turn-attempt"));
    await.turn.server = repo::describe(
        repo::identify_place(config.get_string("pg1-path"), request.control.system_id));
    for (const flows::BackupTarget& target : request.targets)
        if (target.request) await.repositories.push_back(target.request->repository);
    const std::string part = config.get_string("turn-part");
    await.part = part == "yield"    ? flows::TurnPart::yield
                 : part == "follow" ? flows::TurnPart::follow
                                    : flows::TurnPart::take;
    await.standby = copy_from(config) == ops::backup::CopyFrom::standby;
    return await;
}

Result<std::vector<ops::check::CheckFinding>> check_over(Context& context,
                                                         db::Connection& connection) {
    const config::Config& config = context.config;
    ops::check::CheckRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(open_repositories(config));
    request.pgdata = config.get_string("pg1-path");
    request.role = config.get_string("pg1-user");
    request.archive_check = config.get_bool("archive-check");
    request.archive_mode_check = config.get_bool("archive-mode-check");
    request.archive_timeout = config.get_time("archive-timeout");
    const auto server = db::read_server_facts(connection);
    // What the role may not ask is a finding of its own, below.
    const std::string directory = server ? server->data_directory : request.pgdata;
    auto findings = configuration_findings(config);
    for (ops::check::CheckFinding& finding : check_local_paths(config, directory))
        findings.push_back(std::move(finding));
    if (const auto placed = check_places(config, directory); !placed)
        findings.push_back({"places", ops::check::CheckStatus::failure, placed.error().message(),
                            placed.error().hint(), placed.error().kind()});
    for (const std::string& exclude : config.get_list("exclude"))
        if (const auto checked = pgdata::check_exclude(exclude); !checked)
            findings.push_back({"exclude", ops::check::CheckStatus::failure,
                                checked.error().message(), checked.error().hint(),
                                checked.error().kind()});
    if (server && !server->in_recovery && copy_from(config) == ops::backup::CopyFrom::standby)
        findings.push_back({"backup-standby",
                            ops::check::CheckStatus::note,
                            "backups are taken where the server is a standby: here, on a primary,"
                            " each one is refused",
                            "Set backup-standby=prefer to have them here, too.",
                            {}});
    // Nothing is archived then: waiting for WAL would only hide why.
    if (!ops::check::check_outcome(findings)) return findings;
    for (ops::check::CheckFinding& finding :
         CHRONOS_TRY(ops::check::run_check(request, connection, context.progress, context.cancel)))
        findings.push_back(std::move(finding));
    if (!server) return findings;
    if (const auto reached = check_way_to_server(context, connection, *server); !reached)
        findings.push_back({"connection", ops::check::CheckStatus::failure,
                            reached.error().message(), reached.error().hint(),
                            reached.error().kind()});
    return findings;
}

Result<pgdata::ControlFile> control_file_over(Context& context, db::Connection& connection) {
    return control_file_of(context.config, CHRONOS_TRY(db::read_server_facts(connection)));
}

Result<std::vector<ops::stanza::StanzaOutcome>> create_stanza_over(Context& context,
                                                                   db::Connection& connection) {
    const config::Config& config = context.config;
    const auto server = CHRONOS_TRY(db::read_server_facts(connection));
    const auto control = CHRONOS_TRY(control_file_of(config, server));
    CHRONOS_TRY(check_places(config, server.data_directory));
    const auto request = stanza_request(config, CHRONOS_TRY(open_repositories(config)));
    return ops::stanza::create_stanza(request, control);
}

}  // namespace chronos::requests
