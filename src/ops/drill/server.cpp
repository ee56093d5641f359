#include "ops/drill/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "chronos/base/log.h"
#include "chronos/base/quote.h"
#include "chronos/base/text.h"
#include "chronos/os/file.h"

namespace chronos::ops::drill {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

/// "" if there is none; what a server logs in a drill is far less.
std::string read_file(const std::string& path) {
    constexpr std::size_t kSizeMax = std::size_t{1} << 30;
    return os::read_or_empty(path, kSizeMax);
}

unsigned major_of(std::string_view version) {
    return static_cast<unsigned>(parse_uint(version.substr(0, version.find('.'))).value_or(0));
}

/// What a short-lived program prints; "" if it cannot be run.
std::string output_of(const std::vector<std::string>& arguments) {
    std::string output;
    const auto ended =
        os::run({.arguments = arguments,
                 .environment = plain_environment(),
                 .output = os::Output::captured_both},
                {std::chrono::seconds(20)}, [&](std::string_view chunk) { output += chunk; });
    return ended && ended->success() ? output : "";
}

/// Whether postgres in a directory is of that major version.
bool has_version(const std::string& directory, const std::string& pg_version) {
    const std::string program = directory + "/postgres";
    if (access(program.c_str(), X_OK) != 0) return false;
    return version_of_output(output_of({program, "--version"})) == pg_version;
}

std::vector<std::string> likely_directories(const std::string& pg_version) {
    std::vector<std::string> directories = {
        "/usr/lib/postgresql/" + pg_version + "/bin",  // Debian
        "/usr/pgsql-" + pg_version + "/bin",           // RPMs of the PostgreSQL project
        "/usr/libexec/postgresql" + pg_version,        // Alpine
        "/usr/local/pgsql/bin",
        "/usr/local/bin",
        "/usr/bin"};
    const char* path = std::getenv("PATH");
    std::vector<std::string> on_path;
    for (const std::string_view part : split(path == nullptr ? "" : path, ':'))
        if (part.starts_with('/')) on_path.emplace_back(part);
    directories.insert(directories.begin(), on_path.begin(), on_path.end());
    for (const std::string& directory : on_path) {
        if (access((directory + "/pg_config").c_str(), X_OK) != 0) continue;
        const std::string output = output_of({directory + "/pg_config", "--bindir"});
        if (const std::string_view found = trim(output); found.starts_with('/'))
            directories.emplace_back(found);
    }
    return directories;
}

std::string setting_text(std::string_view value) {
    return "'" + conf_value(value) + "'";
}

std::uint64_t number_after(std::string_view name, std::string_view output) {
    const std::size_t at = output.find(name);
    if (at == std::string_view::npos) return 0;
    const std::string_view rest = output.substr(at + name.size());
    return parse_uint(trim(rest.substr(0, rest.find('\n')))).value_or(0);
}

ClusterTraits traits_of(const RestoredBackup& backup, const std::string& programs,
                        const Scratch& scratch) {
    const std::string output = output_of({programs + "/pg_controldata", scratch.data()});
    ClusterTraits traits;
    traits.major = major_of(backup.pg_version);
    traits.prepared_max =
        static_cast<unsigned>(number_after("max_prepared_xacts setting:", output));
    if (const std::uint64_t size = number_after("Bytes per WAL segment:", output); size > 0)
        traits.wal_segment_size = size;
    return traits;
}

/// A server does not start with less than two segments, of which its defaults may be none: they are
/// for segments of 16 MiB, and initdb writes others into the configuration that is not read here.
void add_wal_sizes(const ClusterTraits& cluster,
                   std::vector<std::pair<std::string, std::string>>& settings) {
    constexpr std::uint64_t kMiB = std::uint64_t{1024} * 1024;
    constexpr std::uint64_t kMinDefault = 80 * kMiB, kMaxDefault = 1024 * kMiB;
    const auto at_least = [&](const char* name, std::uint64_t size, std::uint64_t usual) {
        settings.emplace_back(name, std::to_string(std::max(size, usual) / kMiB) + "MB");
    };
    at_least("min_wal_size", 2 * cluster.wal_segment_size, kMinDefault);
    at_least("max_wal_size", 4 * cluster.wal_segment_size, kMaxDefault);
}

/// Files that the server reads, in place of those that came with the backup.
Result<> write_configuration(const DrillRequest& request, const Scratch& scratch,
                             const std::string& programs, const RestoredBackup& backup,
                             DrillServer::Use use) {
    const std::string auto_conf = scratch.data() + "/postgresql.auto.conf";
    CHRONOS_TRY(os::write_whole(auto_conf, recovery_part(read_file(auto_conf))));
    CHRONOS_TRY(os::write_whole(scratch.path + "/pg_hba.conf", "local all all trust\n"));
    CHRONOS_TRY(os::write_whole(scratch.path + "/pg_ident.conf", ""));
    const ClusterTraits traits = traits_of(backup, programs, scratch);
    std::string settings = server_settings(request, scratch, traits);
    if (use == DrillServer::Use::look)
        settings += look_settings(traits, backup.required_settings);
    else if (backup.fetched_bytes)
        settings += mounted_settings(traits);
    CHRONOS_TRY(os::write_whole(scratch.path + "/server.conf", settings));
    if (mkdir(scratch.socket().c_str(), 0700) != 0)
        return system_error(ErrorKind::path_create,
                            "unable to create path '" + scratch.socket() + "'", errno);
    return {};
}

std::vector<std::string> server_arguments(const std::string& programs, const Scratch& scratch) {
    return {programs + "/postgres", "-D", scratch.data(), "-c",
            "config_file=" + scratch.path + "/server.conf"};
}

/// The state that the postmaster writes down: the eighth line of its file, since version 10.
bool is_ready(const std::string& data) {
    constexpr std::size_t kStateLine = 7;
    const std::string content = read_file(data + "/postmaster.pid");
    const auto lines = split(content, '\n');
    return lines.size() > kStateLine && trim(lines[kStateLine]) == "ready";
}

}  // namespace

std::vector<std::string> plain_environment() {
    std::vector<std::string> result = os::environment_with();
    std::erase_if(result, [](const std::string& text) {
        // PGBACKREST_... configures restore_command and stays.
        return (text.starts_with("PG") && !text.starts_with("PGBACKREST_")) ||
               text.starts_with("LC_") || text.starts_with("LANG=") ||
               text.starts_with("LANGUAGE=");
    });
    result.emplace_back("LC_ALL=C");
    return result;
}

std::string version_of_output(std::string_view output) {
    constexpr std::string_view kHead = "postgres (PostgreSQL) ";
    if (!output.starts_with(kHead)) return "";
    output.remove_prefix(kHead.size());
    const std::size_t end = output.find_first_not_of("0123456789");
    std::string version(output.substr(0, end));
    if (version != "9" || end == std::string_view::npos) return version;
    output.remove_prefix(end + 1);
    return version + "." + std::string(output.substr(0, output.find_first_not_of("0123456789")));
}

Result<std::string> find_programs(const std::string& pg_version, const std::string& wanted,
                                  const std::string& own_path) {
    if (!wanted.empty()) {
        if (has_version(wanted, pg_version)) return wanted;
        return Error(ErrorKind::not_found, "'" + wanted + "' has no postgres of version " +
                                               pg_version + ", which the backup is of");
    }
    std::vector<std::string> directories = likely_directories(pg_version);
    if (!own_path.empty()) directories.insert(directories.begin(), own_path);
    for (const std::string& directory : directories)
        if (has_version(directory, pg_version)) return directory;
    return Error(ErrorKind::not_found, "found no postgres of version " + pg_version +
                                           ", which the backup is of, in " +
                                           join(directories, ", "))
        .with_hint(
            "Install the server package of that version, or name its directory of "
            "programs with --bin-path.");
}

std::string server_settings(const DrillRequest& request, const Scratch& scratch,
                            const ClusterTraits& cluster) {
    std::vector<std::pair<std::string, std::string>> settings = {
        {"shared_buffers", "32MB"},
        {"max_connections", "20"},
        {"max_prepared_transactions", std::to_string(cluster.prepared_max)},
        {"max_worker_processes", "4"},
        {"max_parallel_workers", "0"},
        {"max_parallel_maintenance_workers", "0"},
        {"shared_preload_libraries", request.preload},
        {"lc_messages", "C"},
        {"log_timezone", "UTC"},
        {"timezone", "UTC"},
    };
    if (cluster.major >= 11) settings.emplace_back("jit", "off");
    // Tablespaces that lie in the data directory are an error for a server without it.
    if (cluster.major >= 15) settings.emplace_back("allow_in_place_tablespaces", "on");
    if (cluster.major >= 10) add_wal_sizes(cluster, settings);
    if (cluster.major < 11)
        std::erase_if(settings, [](const auto& setting) {
            return setting.first == "max_parallel_maintenance_workers";
        });
    for (const auto& [name, value] : request.settings) settings.emplace_back(name, value);
    // The last one counts: from here on nothing is for choice.
    const std::vector<std::pair<std::string, std::string>> safety = {
        {"listen_addresses", ""},
        {"unix_socket_directories", scratch.socket()},
        {"unix_socket_permissions", "0700"},
        {"port", std::to_string(request.port)},
        {"hba_file", scratch.path + "/pg_hba.conf"},
        {"ident_file", scratch.path + "/pg_ident.conf"},
        {"archive_mode", "off"},
        {"session_preload_libraries", ""},
        {"local_preload_libraries", ""},
        {"max_wal_senders", "0"},
        {"max_logical_replication_workers", "0"},
        {"autovacuum", "off"},
        // No sessions before the end of recovery: so no setting of the primary need be matched,
        // and no query of anybody's can hold replay up.
        {"hot_standby", "off"},
        // It is thrown away: a crash of the machine ends the drill anyway.
        {"fsync", "off"},
        {"synchronous_commit", "off"},
        {"full_page_writes", "off"},
        {"ssl", "off"},
        {"logging_collector", "off"},
        {"log_destination", "stderr"},
        {"log_line_prefix", "%m "},
    };
    settings.insert(settings.end(), safety.begin(), safety.end());
    if (cluster.major >= 17) settings.emplace_back("event_triggers", "off");
    std::string text =
        "# made by chronos drill; what stood in the cluster's own files is not read\n";
    for (const auto& [name, value] : settings) text += name + " = " + setting_text(value) + "\n";
    return text;
}

std::string look_settings(const ClusterTraits& cluster,
                          const std::map<std::string, std::uint64_t>& required) {
    std::map<std::string, std::uint64_t> values = {
        {"max_connections", 20},
        {"max_worker_processes", 4},
        {"max_prepared_transactions", cluster.prepared_max}};
    for (const auto& [name, value] : required) values[name] = std::max(values[name], value);
    std::string text = "hot_standby = on\ndefault_transaction_read_only = on\n";
    text += mounted_settings(cluster);
    for (const auto& [name, value] : values) text += name + " = " + std::to_string(value) + "\n";
    return text;
}

std::string mounted_settings(const ClusterTraits& cluster) {
    // It asks for pages that the next record is about to bring whole.
    return cluster.major >= 15 ? "recovery_prefetch = off\n" : "";
}

Result<> check_settings(const DrillRequest& request) {
    // Where the server keeps its files, and what is written after these.
    constexpr std::array kFixed = {"data_directory",
                                   "external_pid_file",
                                   "include",
                                   "include_dir",
                                   "include_if_exists",
                                   "config_file",
                                   "archive_mode",
                                   "archive_command",
                                   "archive_library",
                                   "listen_addresses",
                                   "restore_command",
                                   "hot_standby",
                                   "primary_conninfo",
                                   "shared_preload_libraries",
                                   "recovery_end_command",
                                   "archive_cleanup_command",
                                   "session_preload_libraries"};
    for (const auto& [name, value] : request.settings) {
        const std::string lower = to_lower(name);
        if (std::ranges::find(kFixed, lower) != kFixed.end())
            return Error(ErrorKind::option_invalid_value,
                         "'" + lower + "' cannot be set for the server of a drill")
                .with_hint("--preload names libraries that the data needs.");
        const bool is_name = !name.empty() && name.find_first_not_of(
                                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                                                  "WXYZ0123456789_.") == std::string::npos;
        if (!is_name || value.find_first_of("\r\n") != std::string::npos)
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(name) + "' is no setting for the server of a drill");
    }
    if (request.preload.find_first_of("\r\n") != std::string::npos)
        return Error(ErrorKind::option_invalid_value, "preload must be one line");
    return {};
}

std::string recovery_part(const std::string& auto_conf) {
    // Settings of former restores stand in front of those of this one.
    const std::size_t at = auto_conf.rfind("# Recovery settings generated by chronos restore");
    std::string part;
    // This server is not asked anything before it is out of recovery, whatever the plan needs.
    if (at != std::string::npos)
        for (const std::string_view line : split(std::string_view(auto_conf).substr(at), '\n'))
            if (!line.empty() && !line.starts_with("hot_standby ")) part.append(line) += '\n';
    return part;
}

std::string last_failure(const std::string& log) {
    std::string failure;
    std::string archive;
    std::string missing;
    std::istringstream stream(log);
    for (std::string line; std::getline(stream, line);) {
        for (const char* level : {"FATAL:  ", "PANIC:  "})
            if (const std::size_t at = line.find(level); at != std::string::npos) {
                const std::string text = line.substr(at + 8);
                // Said by every process but the one that knows why.
                if (!text.starts_with("the database system is")) failure = text;
            }
        // What restore_command writes: a line of ours, "ERROR: [026]: ...".
        if (const std::size_t at = line.find("ERROR: ["); at != std::string::npos)
            archive = line.substr(at);
        if (const std::size_t at = line.find("unable to find "); at != std::string::npos)
            missing = line.substr(at);
    }
    if (!archive.empty()) return failure + (failure.empty() ? "" : "; ") + archive;
    // The segment behind the last one is always asked for: not finding it says something only when
    // recovery was meant to go on.
    if (!missing.empty() && failure.find("recovery") != std::string::npos)
        return failure + "; " + missing;
    return failure;
}

std::uint64_t count_restored_segments(const std::string& log) {
    std::uint64_t count = 0;
    constexpr std::string_view kLine = "restored log file \"";
    for (std::size_t at = 0; (at = log.find(kLine, at)) != std::string::npos; at += kLine.size())
        ++count;
    return count;
}

Result<DrillServer> DrillServer::start(const DrillRequest& request, const Scratch& scratch,
                                       const RestoredBackup& backup, Use use) {
    std::string programs =
        CHRONOS_TRY(find_programs(backup.pg_version, request.bin_path, request.own_path));
    CHRONOS_TRY(write_configuration(request, scratch, programs, backup, use));
    log_info("start " + programs + "/postgres in '" + scratch.data() + "', socket in '" +
             scratch.socket() + "'");
    // A postmaster stops at once by SIGQUIT.
    os::Child child =
        CHRONOS_TRY(os::Child::start({.arguments = server_arguments(programs, scratch),
                                      .environment = plain_environment(),
                                      .output = os::Output::file,
                                      .file = scratch.log(),
                                      .death_signal = SIGQUIT}));
    return DrillServer(request, scratch, std::move(programs), backup.wal_segments,
                       std::move(child));
}

Error DrillServer::ended_early(int status) const {
    const std::string reason = last_failure(read_file(scratch_.log()));
    return {ErrorKind::runtime, "the restored server ended with " + os::describe_status(status) +
                                    (reason.empty() ? "" : ": " + printable(reason, 1024))};
}

Result<> DrillServer::check_alive() {
    if (request_.check_data) CHRONOS_TRY(request_.check_data());
    if (const auto status = child_.ended()) return ended_early(*status);
    return {};
}

Result<> DrillServer::wait(const ProgressReceiver& progress, const Cancellation& cancel) {
    const Deadline deadline(request_.recovery_timeout);
    Progress now{"recover", 0, 0, segments_, 0};
    for (unsigned round = 0; !is_ready(scratch_.data()); ++round) {
        CHRONOS_TRY(check_alive());
        if (deadline.passed())
            return Error(ErrorKind::archive_timeout,
                         "the restored server did not finish its recovery within " +
                             std::to_string(request_.recovery_timeout->count() / 1000) + "s")
                .with_hint("--recovery-timeout allows it more.");
        constexpr unsigned kRoundsPerReport = 20;
        if (round % kRoundsPerReport == 0 && progress) {
            now.files_done =
                std::min(count_restored_segments(read_file(scratch_.log())), segments_);
            progress(now);
        }
        CHRONOS_TRY(cancel.sleep(milliseconds(50)));
    }
    return {};
}

Result<std::unique_ptr<db::Connection>> DrillServer::connect_as(const std::string& user,
                                                                const std::string& database,
                                                                const Cancellation& cancel) const {
    db::ConnectOptions options;
    options.database = database;
    options.host = scratch_.socket();
    options.port = request_.port;
    options.user = user;
    options.query_timeout = request_.query_timeout;
    // ALTER DATABASE and ALTER ROLE may ask for libraries of the original server.
    const bool is_superuser = user == superuser_ || superuser_.empty();
    options.options =
        is_superuser ? "-c session_preload_libraries=" : "-c default_transaction_read_only=on";
    auto connection = CHRONOS_TRY(db::connect(options, cancel));
    CHRONOS_TRY(connection->query("RESET search_path"));
    return connection;
}

Result<std::unique_ptr<db::Connection>> DrillServer::connect(const std::string& database,
                                                             const Cancellation& cancel) {
    if (!superuser_.empty()) return connect_as(superuser_, database, cancel);
    std::optional<Error> first;
    for (const std::string& user : request_.users) {
        auto connection = connect_as(user, database, cancel);
        if (connection) {
            const auto rows = CHRONOS_TRY((*connection)->query("SHOW is_superuser"));
            if (rows.empty() || rows[0].empty() || rows[0][0] != "on") continue;
            superuser_ = user;
            return connection;
        }
        if (!first) first = connection.error();
    }
    Error error = first ? std::move(*first)
                        : Error(ErrorKind::db_connect, "no superuser of the restored server known");
    return std::move(error).with_hint("pg1-user names the superuser of the cluster; tried were " +
                                      join(request_.users, ", ") + ".");
}

void DrillServer::stop() {
    if (child_.ended()) return;
    child_.signal(SIGINT);
    if (!child_.ended_within(std::chrono::seconds(20))) child_.signal(SIGQUIT);
    child_.ended_within(std::chrono::seconds(10));
}

void DrillServer::abandon() {
    if (child_.ended()) return;
    child_.signal(SIGQUIT);
    child_.ended_within(std::chrono::seconds(10));
}

std::string DrillServer::start_command() const {
    std::string command;
    for (const std::string& argument : server_arguments(programs_, scratch_))
        command += (command.empty() ? "" : " ") + shell_word(argument);
    return command;
}

}  // namespace chronos::ops::drill
