#include "chronos/present/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "chronos/base/text.h"

namespace chronos::present {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;
using ops::health::ArchiveFacts;
using ops::health::RepositoryFacts;
using repo::BackupEntry;
using repo::BackupType;

double number(std::uint64_t value) {
    return static_cast<double>(value);
}

double seconds(UnixTime value) {
    return static_cast<double>(value);
}

std::string yes_no(bool value) {
    return value ? "y" : "n";
}

/// One number of a backup: the name without "pgbackrest_backup_", and what it is.
struct BackupNumber {
    const char* name;
    const char* help;
    double (*value)(const BackupEntry&);
};

constexpr std::array kBackupNumbers{
    BackupNumber{"annotations", "Number of annotations in the backup.",
                 [](const BackupEntry& b) { return number(b.annotations.size()); }},
    BackupNumber{"delta_bytes", "Amount of data in the database to actually backup.",
                 [](const BackupEntry& b) { return number(b.size_delta); }},
    BackupNumber{
        "duration_seconds", "Backup duration.",
        [](const BackupEntry& b) { return seconds(b.timestamp_stop - b.timestamp_start); }},
    BackupNumber{"error_status", "Whether the backup contains page checksum errors.",
                 [](const BackupEntry& b) { return b.error.value_or(false) ? 1.0 : 0.0; }},
    BackupNumber{"repo_delta_bytes", "Stored size of the files of this backup.",
                 [](const BackupEntry& b) { return number(b.repo_size_delta); }},
    BackupNumber{"repo_delta_map_bytes", "Size of the block maps of this backup.",
                 [](const BackupEntry& b) { return number(b.map_size_delta.value_or(0)); }},
    BackupNumber{"repo_size_bytes", "Stored size of all that the backup needs.",
                 [](const BackupEntry& b) { return number(b.repo_size); }},
    BackupNumber{"repo_size_map_bytes", "Size of all block maps that the backup needs.",
                 [](const BackupEntry& b) { return number(b.map_size.value_or(0)); }},
    BackupNumber{"size_bytes", "Size of the database.",
                 [](const BackupEntry& b) { return number(b.size); }},
};

Labels sorted(Labels labels) {
    std::sort(labels.begin(), labels.end());
    return labels;
}

class Collector {
public:
    explicit Collector(const HealthView& view) : view_(view), stanza_(view.snapshot.stanza) {}

    std::vector<MetricFamily> all() {
        add_stanza();
        add_backups();
        add_last_backups();
        add_archives();
        add_runbook_names();
        add_rules();
        add_repositories();
        add_server();
        add_ages();
        std::erase_if(families_, [](const MetricFamily& one) { return one.samples.empty(); });
        return std::move(families_);
    }

private:
    MetricFamily& family(std::string name, std::string help) {
        families_.push_back({std::move(name), std::move(help), "gauge", {}});
        return families_.back();
    }
    void single(const char* name, const char* help, double value) {
        family(name, help).samples.push_back({{{"stanza", stanza_}}, value});
    }
    void counter(const char* name, const char* help, double value) {
        single(name, help, value);
        families_.back().type = "counter";
    }
    Labels of_repository(const RepositoryFacts& repository) const {
        return {{"repo_key", std::to_string(repository.key)}, {"stanza", stanza_}};
    }

    void add_stanza();
    void add_backups();
    void add_last_backups();
    void add_archives();
    void add_runbook_names();
    void add_rules();
    void add_repositories();
    void add_server();
    void add_ages();
    void add_heartbeats(const std::vector<ops::health::HeartbeatFacts>& heartbeats);

    const HealthView& view_;
    const std::string& stanza_;
    std::vector<MetricFamily> families_;
};

void Collector::add_stanza() {
    std::uint64_t total = 0, done = 0;
    for (const RunningBackup& running : view_.running) {
        total += running.bytes_total.value_or(0);
        done += running.bytes_done.value_or(0);
    }
    single("pgbackrest_stanza_backup_compete_bytes", "Completed size for backup in progress.",
           number(done));
    single("pgbackrest_stanza_backup_total_bytes", "Total size for backup in progress.",
           number(total));
    single("pgbackrest_stanza_lock_status", "Whether a command is running for the stanza.",
           view_.running.empty() ? 0 : 1);
    single("pgbackrest_stanza_status", "Current stanza status.",
           static_cast<double>(view_.snapshot.status()));
    single("pgbackrest_exporter_status", "Whether information was fetched.", 1);
    MetricFamily& repositories = family("pgbackrest_repo_status", "Current repository status.");
    for (const RepositoryFacts& repository : view_.snapshot.repositories) {
        Labels labels = of_repository(repository);
        labels.emplace_back("cipher", crypto::cipher_type_name(repository.cipher));
        repositories.samples.push_back({sorted(labels), static_cast<double>(repository.status)});
    }
}

Labels backup_labels(const RepositoryFacts& repository, const BackupEntry& backup,
                     const std::string& stanza) {
    return {{"backup_name", backup.label},
            {"backup_type", std::string(repo::backup_type_name(backup.type))},
            {"block_incr", yes_no(backup.map_size.has_value())},
            {"database_id", std::to_string(backup.history_id)},
            {"repo_key", std::to_string(repository.key)},
            {"stanza", stanza}};
}

std::string text_or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

Labels info_labels(const RepositoryFacts& repository, const BackupEntry& backup,
                   const std::string& stanza) {
    Labels labels = backup_labels(repository, backup, stanza);
    std::string version;
    for (const repo::HistoryEntry& entry : repository.history)
        if (entry.id == backup.history_id) version = entry.version;
    labels.emplace_back("backrest_ver", backup.backrest_version);
    labels.emplace_back("lsn_start", backup.lsn_start ? backup.lsn_start->str() : "-");
    labels.emplace_back("lsn_stop", backup.lsn_stop ? backup.lsn_stop->str() : "-");
    labels.emplace_back("pg_version", version);
    labels.emplace_back("prior", backup.prior);
    labels.emplace_back("wal_start", text_or_dash(backup.archive_start));
    labels.emplace_back("wal_stop", text_or_dash(backup.archive_stop));
    return sorted(std::move(labels));
}

void Collector::add_backups() {
    MetricFamily& info = family("pgbackrest_backup_info", "Backup info.");
    for (const RepositoryFacts& repository : view_.snapshot.repositories)
        for (const BackupEntry& backup : repository.backups)
            info.samples.push_back({info_labels(repository, backup, stanza_), 1});
    for (const BackupNumber& what : kBackupNumbers) {
        MetricFamily& numbers = family(std::string("pgbackrest_backup_") + what.name, what.help);
        const bool is_duration = std::string_view(what.name) == "duration_seconds";
        for (const RepositoryFacts& repository : view_.snapshot.repositories)
            for (const BackupEntry& backup : repository.backups) {
                Labels labels = backup_labels(repository, backup, stanza_);
                if (is_duration) {
                    labels.emplace_back("start_time", format_local_time(backup.timestamp_start));
                    labels.emplace_back("stop_time", format_local_time(backup.timestamp_stop));
                }
                numbers.samples.push_back({std::move(labels), what.value(backup)});
            }
    }
}

/// A full backup is also the last diff when it is newer than that, and so on.
const BackupEntry* last_of(const std::vector<RepositoryFacts>& repositories, BackupType type) {
    const BackupEntry* last = nullptr;
    for (const RepositoryFacts& repository : repositories)
        for (const BackupEntry& backup : repository.backups)
            if (backup.type <= type &&
                (last == nullptr || backup.timestamp_stop > last->timestamp_stop))
                last = &backup;
    return last;
}

void Collector::add_last_backups() {
    const auto add = [&](const std::string& name, const char* help, auto&& value) {
        MetricFamily& numbers = family(name, help);
        for (const BackupType type : {BackupType::full, BackupType::diff, BackupType::incr}) {
            const BackupEntry* last = last_of(view_.snapshot.repositories, type);
            if (last == nullptr) continue;
            numbers.samples.push_back({{{"backup_type", std::string(repo::backup_type_name(type))},
                                        {"block_incr", yes_no(last->map_size.has_value())},
                                        {"stanza", stanza_}},
                                       value(*last)});
        }
    };
    add("pgbackrest_backup_since_last_completion_seconds",
        "Seconds since the last completed full, differential or incremental backup.",
        [&](const BackupEntry& backup) {
            return seconds(std::max<UnixTime>(0, view_.now - backup.timestamp_stop));
        });
    for (const BackupNumber& what : kBackupNumbers)
        add(std::string("pgbackrest_backup_last_") + what.name, what.help, what.value);
}

void Collector::add_archives() {
    MetricFamily& status = family("pgbackrest_wal_archive_status", "Current WAL archive status.");
    for (const RepositoryFacts& repository : view_.snapshot.repositories)
        for (const ArchiveFacts& archive : repository.archives) {
            Labels labels = of_repository(repository);
            labels.emplace_back("database_id", std::to_string(archive.database.id));
            labels.emplace_back("pg_version", archive.database.version);
            // The positions would begin a new series with each segment; the exporter leaves them
            // empty too unless it is told otherwise.
            labels.emplace_back("wal_max", "");
            labels.emplace_back("wal_min", "");
            status.samples.push_back({sorted(std::move(labels)),
                                      archive.min.empty() || archive.max.empty() ? 0.0 : 1.0});
        }
}

void Collector::add_runbook_names() {
    if (const BackupEntry* latest = view_.snapshot.latest_backup())
        single("pgbackrest_last_backup_timestamp", "When the last backup was completed.",
               seconds(latest->timestamp_stop));
    const bool unfinished = std::ranges::any_of(
        view_.snapshot.repositories,
        [](const RepositoryFacts& repository) { return repository.unfinished_verify.has_value(); });
    if (const auto& verify = view_.snapshot.verify; verify || unfinished)
        single("pgbackrest_verify_status",
               "Whether the last verify came to its end and found nothing wrong.",
               !unfinished && verify->problems == 0 ? 1 : 0);
    MetricFamily& size = family("s3_bucket_size_bytes", "Stored bytes of the stanza.");
    for (const RepositoryFacts& repository : view_.snapshot.repositories)
        if (repository.problem.empty())
            size.samples.push_back({of_repository(repository),
                                    number(repository.backup_bytes() + repository.wal_bytes())});
}

void Collector::add_rules() {
    single("chronos_healthy", "Whether no health rule is critical.",
           view_.overall() == ops::health::RuleState::critical ? 0 : 1);
    MetricFamily& states =
        family("chronos_rule_state", "State of a health rule: 1 for the state that it has.");
    using ops::health::RuleState;
    for (const ops::health::Rule& rule : view_.rules)
        for (const RuleState state :
             {RuleState::ok, RuleState::unknown, RuleState::warning, RuleState::critical})
            states.samples.push_back({{{"rule", rule.name},
                                       {"stanza", stanza_},
                                       {"state", std::string(rule_state_name(state))}},
                                      rule.state == state ? 1.0 : 0.0});
    MetricFamily& values =
        family("chronos_rule_value", "What a health rule measured: seconds, bytes or percent.");
    for (const ops::health::Rule& rule : view_.rules)
        if (rule.number)
            values.samples.push_back({{{"rule", rule.name}, {"stanza", stanza_}}, *rule.number});
}

void Collector::add_repositories() {
    const auto add = [&](const char* name, const char* help, auto&& value) {
        MetricFamily& numbers = family(name, help);
        for (const RepositoryFacts& repository : view_.snapshot.repositories)
            if (repository.problem.empty())
                numbers.samples.push_back({of_repository(repository), value(repository)});
    };
    add("chronos_repo_backup_bytes", "Stored bytes of backups.",
        [](const RepositoryFacts& one) { return number(one.backup_bytes()); });
    add("chronos_repo_wal_bytes", "Stored bytes of WAL.",
        [](const RepositoryFacts& one) { return number(one.wal_bytes()); });
    add("chronos_repo_backups", "Number of backups.",
        [](const RepositoryFacts& one) { return number(one.backups.size()); });
    add("chronos_wal_segments", "Archived WAL segments.", [](const RepositoryFacts& one) {
        double sum = 0;
        for (const ArchiveFacts& archive : one.archives) sum += number(archive.segments);
        return sum;
    });
    add("chronos_wal_missing_segments", "WAL segments missing in the recovery window.",
        [](const RepositoryFacts& one) {
            double sum = 0;
            for (const ArchiveFacts& archive : one.archives)
                for (const ops::health::WalGap& gap : archive.gaps) sum += number(gap.segments);
            return sum;
        });
    add("chronos_wal_newest_timestamp", "When the last WAL segment was stored.",
        [](const RepositoryFacts& one) {
            UnixTime newest = 0;
            for (const ArchiveFacts& archive : one.archives)
                newest = std::max(newest, archive.newest);
            return seconds(newest);
        });
    MetricFamily& stops =
        family("chronos_repo_last_backup_timestamp", "When the last backup was completed.");
    for (const RepositoryFacts& repository : view_.snapshot.repositories)
        if (const BackupEntry* latest = ops::health::latest_backup_of(repository))
            stops.samples.push_back({of_repository(repository), seconds(latest->timestamp_stop)});
    MetricFamily& ages =
        family("chronos_repo_backup_age_seconds", "Time since the last backup was completed.");
    for (const RepositoryFacts& repository : view_.snapshot.repositories)
        if (const BackupEntry* latest = ops::health::latest_backup_of(repository))
            ages.samples.push_back(
                {of_repository(repository),
                 seconds(std::max<UnixTime>(0, view_.now - latest->timestamp_stop))});
    single("chronos_snapshot_timestamp", "When the repositories were last looked at.",
           seconds(view_.snapshot.taken_at));
}

/// Of what is served from memory; a look that is made for the answer has no age.
void Collector::add_ages() {
    const auto known = [&](const FactsAge& facts) { return facts.limit != 0 && facts.at != 0; };
    const std::pair<const char*, const FactsAge*> groups[] = {
        {"repositories", &view_.of_repositories},
        {"server", &view_.of_server},
        {"jobs", &view_.of_jobs},
        {"schedules", &view_.of_schedules}};
    MetricFamily& ages = family("chronos_facts_age_seconds", "Seconds since facts were collected.");
    for (const auto& [name, facts] : groups)
        if (known(*facts))
            ages.samples.push_back(
                {{{"facts", name}, {"stanza", stanza_}}, static_cast<double>(facts->age)});
    MetricFamily& stale = family("chronos_facts_known",
                                 "Whether facts are recent enough to be taken for the present.");
    for (const auto& [name, facts] : groups)
        if (facts->limit != 0)
            stale.samples.push_back(
                {{{"facts", name}, {"stanza", stanza_}}, facts->problem.empty() ? 1.0 : 0.0});
    MetricFamily& repositories =
        family("chronos_repo_read_age_seconds", "Seconds since the repository could last be read.");
    for (const RepositoryFacts& repository : view_.snapshot.repositories) {
        const auto memory = view_.memories.find(repository.key);
        if (memory != view_.memories.end() && memory->second.read_at != 0)
            repositories.samples.push_back(
                {of_repository(repository),
                 seconds(std::max<UnixTime>(0, view_.now - memory->second.read_at))});
    }
    MetricFamily& records = family("chronos_record_age_seconds",
                                   "Seconds since the last verify or restore drill has ended.");
    const auto add_record = [&](const char* name, UnixTime at) {
        records.samples.push_back({{{"record", name}, {"stanza", stanza_}},
                                   seconds(std::max<UnixTime>(0, view_.now - at))});
    };
    if (view_.snapshot.verify) add_record("verify", view_.snapshot.verify->finished_at);
    if (view_.snapshot.drill) add_record("drill", view_.snapshot.drill->finished_at);
}

void Collector::add_heartbeats(const std::vector<ops::health::HeartbeatFacts>& heartbeats) {
    const auto add = [&](const char* name, const char* help, auto&& value) {
        MetricFamily& numbers = family(name, help);
        for (const ops::health::HeartbeatFacts& one : heartbeats)
            if (const std::optional<double> number = value(one))
                numbers.samples.push_back(
                    {{{"stanza", stanza_}, {"subject", one.subject}}, *number});
    };
    using ops::health::HeartbeatFacts;
    using Value = std::optional<double>;
    add("chronos_heartbeat_late_seconds",
        "For how long a sign of life of a process of the server has been missing.",
        [](const HeartbeatFacts& one) { return Value(static_cast<double>(one.late_by)); });
    add("chronos_heartbeat_age_seconds", "Time since the last sign of life.",
        [](const HeartbeatFacts& one) {
            return one.seen < 0 ? Value() : Value(static_cast<double>(one.seen));
        });
}

void Collector::add_server() {
    if (!view_.server) return;
    const ops::health::ServerFacts& server = *view_.server;
    single("chronos_server_timestamp", "When the server was last asked.", seconds(server.at));
    if (const auto lost = ops::health::data_loss_seconds(server, view_.snapshot))
        single("chronos_rpo_seconds", "Age of the oldest WAL that would be lost with the server.",
               seconds(*lost));
    single("chronos_wal_ready_segments", "WAL files that wait for the archiver.",
           number(server.ready_segments));
    single("chronos_wal_unarchived_bytes", "WAL written that is in no repository.",
           number(server.unarchived_bytes));
    single("chronos_pg_wal_bytes", "Size of pg_wal.", number(server.pg_wal_bytes));
    single("chronos_pg_wal_disk_free_bytes", "Free bytes on the file system of pg_wal.",
           number(server.disk_free_bytes));
    single("chronos_pg_wal_disk_bytes", "Size of the file system of pg_wal.",
           number(server.disk_total_bytes));
    add_heartbeats(server.heartbeats);
    counter("chronos_wal_archived_total", "WAL files archived.", number(server.archived_count));
    counter("chronos_wal_failed_total", "Failed attempts to archive a WAL file.",
            number(server.failed_count));
}

std::string escape_label(std::string_view text) {
    std::string result;
    for (const char c : text) {
        if (c == '\\' || c == '"') result += '\\';
        if (c == '\n')
            result += "\\n";
        else
            result += c;
    }
    return result;
}

}  // namespace

std::vector<MetricFamily> metrics_of(const HealthView& view) {
    return Collector(view).all();
}

std::string format_metric_value(double value) {
    std::array<char, 40> text;
    const bool whole = std::floor(value) == value && std::fabs(value) < 1e15;
    const int size = std::snprintf(text.data(), text.size(), whole ? "%.0f" : "%.6g", value);
    return {text.data(), static_cast<std::size_t>(size)};
}

std::string format_metrics(const std::vector<MetricFamily>& families, MetricFormat format) {
    std::string text;
    for (const MetricFamily& family : families) {
        std::string name = family.name;
        // OpenMetrics names a counter without the suffix that its samples have.
        if (format == MetricFormat::openmetrics && family.type == "counter")
            name.resize(name.size() - std::string_view("_total").size());
        text +=
            "# HELP " + name + " " + family.help + "\n# TYPE " + name + " " + family.type + "\n";
        for (const Sample& sample : family.samples) {
            text += family.name + "{";
            const char* separator = "";
            for (const auto& [label, value] : sample.labels) {
                text += separator + label + "=\"" + escape_label(printable(value, 1024)) + "\"";
                separator = ",";
            }
            text += "} " + format_metric_value(sample.value) + "\n";
        }
    }
    if (format == MetricFormat::openmetrics) text += "# EOF\n";
    return text;
}

std::string labels_json(const Sample& sample) {
    nlohmann::json labels = nlohmann::json::object();
    for (const auto& [name, value] : sample.labels) labels[name] = printable(value, 1024);
    return labels.dump();
}

}  // namespace chronos::present
