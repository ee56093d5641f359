#include "serve/service.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <random>
#include <tuple>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/health/note.h"
#include "chronos/present/health_view.h"
#include "chronos/present/metrics.h"
#include "chronos/repo/repository.h"
#include "chronos/requests/health_look.h"
#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/storage.h"
#include "serve/dashboard.h"

namespace chronos::serve {
namespace {

using std::chrono::milliseconds;

constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kJson = "application/json";
constexpr const char* kPrometheus = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kOpenMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// So many intervals without a look at the repositories are too many.
constexpr int kIntervalsMissedMax = 3;
constexpr std::int64_t kLookGrace = 60;
/// The module tells of jobs at least every 20 s.
constexpr std::int64_t kJobsAgeMax = 60;
/// How often it is looked whether a repository has changed where that costs nothing.
constexpr milliseconds kWatchInterval{2000};
constexpr std::size_t kMemorySizeMax = 1 << 20;
constexpr std::size_t kJobsMax = 40;
/// Receivers that did not answer are tried again after so many seconds.
constexpr std::int64_t kTellAgain = 60;

std::int64_t seconds_since(std::chrono::steady_clock::time_point then) {
    return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - then)
        .count();
}

/// What a restore has to be told to work with what this command works with. How this command prints
/// and where its own files are is nothing to it.
std::vector<std::string> options_of_restore(const config::Config& config) {
    std::vector<std::string> options = config.command_line_options("restore");
    std::erase_if(options, [](const std::string& option) {
        for (const char* own : {"--log-", "--output", "--stanza=", "--lock-path", "--spool-path",
                                "--process-max", "--exec-id"})
            if (option.starts_with(own)) return true;
        return false;
    });
    options.insert(options.begin(), "--stanza=" + config.stanza());
    return options;
}

/// The last moment that could be reached.
UnixTime newest_of(const ops::health::RepositoryFacts& repository) {
    UnixTime newest = 0;
    for (const repo::BackupEntry& backup : repository.backups)
        newest = std::max(newest, backup.timestamp_stop);
    for (const ops::health::ArchiveFacts& archive : repository.archives)
        newest = std::max(newest, archive.newest);
    return newest;
}

/// Where what is to be remembered beyond the end of this process may be kept, the best place first.
std::vector<std::string> memory_directories(const config::Config& config) {
    return {config.get_string("spool-path"), config.get_string("lock-path")};
}

/// Of this watcher alone: two of one stanza, of other repositories perhaps, keep their notes in the
/// same directory, and cannot listen at the same place.
std::string memory_name(const config::Config& config) {
    std::string place = config.get_string("http-listen");
    std::ranges::replace_if(
        place, [](unsigned char c) { return std::isalnum(c) == 0 && c != '.'; }, '_');
    return "chronos-serve-" + config.stanza() + "-" + place;
}

std::string make_nonce() {
    std::random_device device;
    std::array<std::uint32_t, 4> words = {device(), device(), device(), device()};
    return to_hex(std::as_bytes(std::span(words)));
}

HttpResponse dashboard() {
    const std::string nonce = make_nonce();
    std::string page(dashboard_html());
    constexpr std::string_view kMark = "@NONCE@";
    for (std::size_t at = page.find(kMark); at != std::string::npos; at = page.find(kMark, at))
        page.replace(at, kMark.size(), nonce);
    return {200,
            "text/html; charset=utf-8",
            std::move(page),
            {{"Content-Security-Policy",
              "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
                  "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                  "frame-ancestors 'none'"}}};
}

/// Of "Basic dXNlcjpwYXNz"; "" if it is not of that form.
std::string basic_password(std::string_view encoded) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string decoded;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : encoded) {
        if (c == '=') break;
        const std::size_t digit = kDigits.find(c);
        if (digit == std::string_view::npos) return "";
        bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xffffff;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        decoded += static_cast<char>(bits >> count & 0xff);
    }
    const std::size_t colon = decoded.find(':');
    return colon == std::string::npos ? "" : decoded.substr(colon + 1);
}

/// The name or address in a Host header; "" if it is none, and then nobody's.
std::string host_without_port(std::string_view host) {
    const bool is_bracketed = host.starts_with('[');
    if (is_bracketed) host.remove_prefix(1);
    const std::size_t end = std::min(host.find(is_bracketed ? ']' : ':'), host.size());
    std::string_view port = host.substr(end);
    if (is_bracketed && !port.starts_with(']')) return "";
    if (is_bracketed) port.remove_prefix(1);
    const bool is_port = port.empty() || (port.front() == ':' && port.size() <= 6 &&
                                          std::ranges::all_of(port.substr(1), is_digit));
    if (!is_port) return "";
    // Names are the same in any case, and with the dot of the root.
    std::string name = to_lower(host.substr(0, end));
    if (name.size() > 1 && name.ends_with('.')) name.pop_back();
    return name;
}

}  // namespace

bool same_secret(std::string_view one, std::string_view other) {
    unsigned difference = one.size() == other.size() ? 0 : 1;
    for (std::size_t i = 0; i < one.size(); ++i)
        difference |= static_cast<unsigned>(
            static_cast<unsigned char>(one[i]) ^
            static_cast<unsigned char>(other.empty() ? 0 : other[i % other.size()]));
    return difference == 0;
}

Service::Service(const config::Config& config, std::vector<repo::Repository> repositories,
                 ServiceOptions options, const Cancellation& cancel)
    : config_(config),
      repositories_(std::move(repositories)),
      options_(std::move(options)),
      cancel_(cancel) {}

Service::~Service() = default;

/// What the server believed to be archived, if its last word is not too old to go by.
std::string Service::last_archived() const {
    const std::string pgdata = config_.get_string("pg1-path");
    if (pgdata.empty()) return "";
    const auto note = ops::health::read_health_note(pgdata);
    const bool holds = note && unix_now() - note->server.at <= note->limit();
    return holds ? note->server.last_archived_wal : "";
}

void Service::refresh() {
    auto fresh =
        std::make_shared<const ops::health::Snapshot>(requests::look_at_configured_repositories(
            config_, repositories_, wal_memory_, last_archived()));
    const std::lock_guard lock(mutex_);
    remember_repositories(*fresh);
    snapshot_ = std::move(fresh);
    snapshot_seen_ = Clock::now();
    rendered_ = nullptr;
}

void Service::remember_repositories(const ops::health::Snapshot& fresh) {
    for (const ops::health::RepositoryFacts& repository : fresh.repositories) {
        ops::health::RepositoryMemory& memory = repository_memories_[repository.key];
        if (repository.problem.empty())
            memory = {fresh.taken_at, 0, repository.backups.size(), newest_of(repository)};
        else if (memory.failing_since == 0)
            memory.failing_since = fresh.taken_at;
    }
}

void Service::load_memory() {
    for (const std::string& directory : memory_directories(config_)) {
        if (directory.empty()) continue;
        const auto storage = storage::make_posix_storage(directory);
        const auto text = storage::read_object(*storage, memory_name(config_), kMemorySizeMax);
        if (!text) continue;
        ops::health::ServeMemory memory = ops::health::parse_serve_memory(*text);
        const std::lock_guard lock(mutex_);
        memories_ = std::move(memory.rules);
        repository_memories_ = std::move(memory.repositories);
        return;
    }
}

/// Where nothing can be written nothing is remembered: this command must also do where it may only
/// read.
void Service::save_memory() {
    std::string text;
    {
        const std::lock_guard lock(mutex_);
        text = ops::health::format_serve_memory({memories_, repository_memories_});
        if (text == saved_memory_) return;
        saved_memory_ = text;
    }
    for (const std::string& directory : memory_directories(config_)) {
        if (directory.empty()) continue;
        const auto storage = storage::make_posix_storage(directory, {.file_mode = 0600});
        if (storage->make_path("") && storage::write_object(*storage, memory_name(config_), text))
            return;
    }
}

/// What shows that a backup, a hold, a drill or a verify has come or gone in a repository, where
/// looking for it costs no round trip.
std::string Service::marks() const {
    const std::string own = "chronos/" + config_.stanza();
    std::string text;
    for (const repo::Repository& repository : repositories_) {
        if (repository.storage->features().remote) continue;
        for (const std::string& directory : {repo::backup_path(config_.stanza()), own + "/hold",
                                             own + "/drills", own + "/verify"}) {
            const auto entries = repository.storage->list(directory);
            if (!entries) continue;
            for (const storage::Entry& entry : *entries)
                text += entry.name + " " + std::to_string(entry.size) + " " +
                        (entry.type == storage::EntryType::file ? std::to_string(entry.modified)
                                                                : std::string("-")) +
                        "\n";
        }
        text += "\n";
    }
    return text;
}

void Service::look_at_restores() {
    auto completing = requests::look_for_completing_restores(config_);
    const std::lock_guard lock(mutex_);
    completing_ = std::move(completing);
}

/// Until a look is due, or something has changed.
void Service::wait_for_change(milliseconds limit, const std::stop_token& stop) {
    const Deadline due(limit);
    const std::string before = marks();
    bool was_running = !requests::look_for_running_backups(config_, repositories_).empty();
    Deadline watch(kWatchInterval);
    while (!due.passed() && !stop.stop_requested() && !cancel_.requested()) {
        std::this_thread::sleep_for(std::min(due.remaining(), milliseconds(100)));
        if (look_now_.exchange(false)) return;
        if (!watch.passed()) continue;
        watch = Deadline(kWatchInterval);
        look_at_restores();
        note_rules();
        save_memory();
        const bool running = !requests::look_for_running_backups(config_, repositories_).empty();
        if ((was_running && !running) || marks() != before) return;
        was_running = running;
    }
}

void Service::start_refreshing() {
    load_memory();
    refresher_ = std::jthread([this](const std::stop_token& stop) {
        const milliseconds interval = config_.get_time("health-interval");
        while (!stop.stop_requested() && !cancel_.requested()) {
            try {
                refresh();
                note_rules();
                save_memory();
            } catch (const std::exception& exception) {
                log_warn(std::string("the repositories could not be looked at: ") +
                         exception.what());
            }
            wait_for_change(interval, stop);
        }
    });
}

void Service::learn(const control::Message& message) {
    if (message.verb == "job" && heard_.size() < 1000)
        heard_.push_back(ops::health::job_of(message));
    if (message.verb != "jobs") return;
    LiveJobs told{std::move(heard_), unix_now(), Clock::now()};
    heard_.clear();
    const std::lock_guard lock(mutex_);
    const auto finished = [](const LiveJobs& list) {
        return std::count_if(list.jobs.begin(), list.jobs.end(),
                             [](const ops::health::JobEntry& job) { return job.is_finished(); });
    };
    // What a job has changed in a repository is to be seen when it has ended.
    if (live_ && finished(told) > finished(*live_)) look_now_ = true;
    live_ = std::move(told);
}

/// The snapshot, unless it is so old that it is no more than a memory: then why it is not known.
void Service::add_repositories(present::HealthView& view) const {
    const auto interval =
        std::chrono::duration_cast<std::chrono::seconds>(config_.get_time("health-interval"));
    view.snapshot = *snapshot_;
    view.memories = repository_memories_;
    present::FactsAge& age = view.of_repositories;
    age.at = view.snapshot.taken_at;
    age.age = seconds_since(snapshot_seen_);
    age.limit = kIntervalsMissedMax * interval.count() + kLookGrace;
    if (age.age <= age.limit) return;
    age.problem = "has not answered for " + ops::health::format_duration(age.age);
    for (ops::health::RepositoryFacts& repository : view.snapshot.repositories) {
        repository.status = ops::health::StatusCode::other;
        repository.problem = age.problem;
        repository.backups.clear();
        repository.archives.clear();
        repository.holds.clear();
        ops::health::RepositoryMemory& memory = view.memories[repository.key];
        if (memory.failing_since == 0) memory.failing_since = age.at;
    }
}

/// What the health worker of the server said last, if that is not too long ago. Since when rules
/// are what they are stays true in any case.
void Service::add_note(present::HealthView& view) {
    const std::string pgdata = config_.get_string("pg1-path");
    if (pgdata.empty()) return;
    auto note = ops::health::read_health_note(pgdata);
    if (!note) {
        view.of_server.problem = "the server has left no word in '" + pgdata + "'";
        view.of_server.limit = ops::health::HealthNote().limit();
        view.of_schedules = view.of_jobs = view.of_server;
        return;
    }
    for (const auto& [name, memory] : note->memories) {
        const auto [own, is_new] = memories_.try_emplace(name, memory);
        if (!is_new && own->second.state == memory.state)
            own->second.since = std::min(own->second.since, memory.since);
    }
    if (note_at_ != note->server.at) {
        note_at_ = note->server.at;
        note_seen_ = Clock::now();
    }
    present::FactsAge& age = view.of_server;
    age.at = note->server.at;
    age.age = std::max(view.now - note->server.at, seconds_since(note_seen_));
    age.limit = note->limit();
    if (age.age > age.limit)
        age.problem =
            "nothing has been heard of the server for " + ops::health::format_duration(age.age);
    else
        view.server = note->server;
    view.of_schedules = view.of_jobs = age;
    if (age.problem.empty()) view.activity = std::move(note->activity);
}

/// What the module tells of jobs is newer than the note, and knows all that are not over.
void Service::add_live_jobs(present::HealthView& view) const {
    if (!live_ || seconds_since(live_->heard) > kJobsAgeMax) return;
    auto& jobs = view.activity.jobs;
    const auto is_told = [&](const ops::health::JobEntry& job) {
        return !job.is_finished() ||
               std::any_of(live_->jobs.begin(), live_->jobs.end(), [&](const auto& one) {
                   return one.id == job.id && one.requested_at == job.requested_at;
               });
    };
    std::erase_if(jobs, is_told);
    jobs.insert(jobs.end(), live_->jobs.begin(), live_->jobs.end());
    std::stable_sort(jobs.begin(), jobs.end(), [](const auto& one, const auto& other) {
        return std::tie(one.requested_at, one.id) > std::tie(other.requested_at, other.id);
    });
    std::size_t kept = 0;
    std::erase_if(jobs, [&](const auto& job) { return job.is_finished() && ++kept > kJobsMax; });
    view.of_jobs = {live_->at, seconds_since(live_->heard), kJobsAgeMax, ""};
}

/// Of the watcher itself, beside the rules that every way of asking has: that a server which should
/// tell how it is has fallen silent.
void Service::add_server_rule(present::HealthView& view) const {
    if (view.of_server.limit == 0) return;
    ops::health::Rule rule;
    rule.name = present::kSilentRule;
    rule.state = ops::health::RuleState::ok;
    rule.message = "the server tells how it is";
    if (!view.of_server.problem.empty()) {
        rule.state = ops::health::RuleState::warning;
        rule.message = view.of_server.problem;
        rule.hint =
            "What is known of the server only is unknown: see whether it runs, and that "
            "chronos_backup is in shared_preload_libraries and chronos.health_interval is not 0.";
    }
    if (view.of_server.at != 0) {
        rule.value = ops::health::format_duration(view.of_server.age);
        rule.threshold = ops::health::format_duration(view.of_server.limit);
        rule.number = static_cast<double>(view.of_server.age);
    }
    view.rules.push_back(std::move(rule));
}

/// A rule that changes is to be noticed when it does, although nobody asks.
void Service::note_rules() {
    {
        const std::lock_guard lock(mutex_);
        if (snapshot_ == nullptr) return;
        const present::HealthView view = view_at(unix_now());
        // One that was never heard of need not be one that should be heard of.
        if (view.of_server.at == 0) return;
        const auto silent =
            std::ranges::find(view.rules, present::kSilentRule, &ops::health::Rule::name);
        if (silent == view.rules.end()) return;
        silence_ = ops::health::unannounced({*silent}, memories_);
    }
    tell_of_silence();
}

/// All other alarms are the server's own; while what tells of them stands still there, or the whole
/// server does, it has to be somebody else.
void Service::tell_of_silence() {
    if (silence_.empty() || seconds_since(unanswered_) < kTellAgain) return;
    ops::health::AlertReceivers receivers(requests::alert_settings(config_), cancel_);
    for (const ops::health::Change& change : silence_) {
        if (!receivers.tell({config_.stanza(), change, unix_now()})) {
            unanswered_ = Clock::now();
            continue;
        }
        const std::lock_guard lock(mutex_);
        memories_[change.rule.name].announced = change.rule.state;
    }
}

present::HealthView Service::view_at(UnixTime now) {
    present::HealthView view;
    view.now = now;
    view.restore_options = options_of_restore(config_);
    view.running = requests::look_for_running_backups(config_, repositories_);
    view.completing = completing_;
    add_repositories(view);
    add_note(view);
    add_live_jobs(view);
    view.rules =
        ops::health::evaluate(view.snapshot, view.server, requests::limits_of(config_), now);
    add_server_rule(view);
    ops::health::note_states(view.rules, memories_, now);
    return view;
}

std::shared_ptr<const Service::Rendered> Service::render(UnixTime now) {
    auto fresh = std::make_shared<Rendered>();
    auto view = std::make_shared<const present::HealthView>(view_at(now));
    fresh->summary = present::health_summary_json(*view);
    fresh->status = present::health_status_json(*view);
    const auto metrics = present::metrics_of(*view);
    fresh->metrics = present::format_metrics(metrics, present::MetricFormat::prometheus);
    fresh->openmetrics = present::format_metrics(metrics, present::MetricFormat::openmetrics);
    fresh->health_status = view->overall() == ops::health::RuleState::critical ? 503 : 200;
    fresh->view = std::move(view);
    return fresh;
}

std::shared_ptr<const Service::Rendered> Service::rendered() {
    const UnixTime now = unix_now();
    const std::lock_guard lock(mutex_);
    if (snapshot_ == nullptr) return nullptr;
    if (rendered_ == nullptr || rendered_->view->now != now) rendered_ = render(now);
    return rendered_;
}

bool Service::is_allowed(const HttpRequest& request) const {
    if (options_.token.empty()) return true;
    constexpr std::string_view kBearer = "Bearer ", kBasic = "Basic ";
    const std::string_view given = request.authorization;
    if (given.starts_with(kBearer))
        return same_secret(given.substr(kBearer.size()), options_.token);
    if (given.starts_with(kBasic))
        return same_secret(basic_password(given.substr(kBasic.size())), options_.token);
    return false;
}

HttpResponse Service::readiness() {
    const std::lock_guard lock(mutex_);
    if (snapshot_ == nullptr) return {503, kText, "the repository has not been read yet\n", {}};
    return {200, kText, "ok\n", {}};
}

HttpResponse Service::route(const HttpRequest& request) {
    const bool for_people = request.accept.find("text/html") != std::string::npos;
    if (request.path == "/" && for_people) return dashboard();
    const bool is_summary = request.path == "/" || request.path == "/health";
    const bool is_metrics = request.path == "/metrics";
    if (!is_summary && !is_metrics && request.path != "/api/status.json")
        return {404, kText, "there is nothing here\n", {}};
    const auto answers = rendered();
    if (answers == nullptr)
        return {503,
                kJson,
                "{\"status\":\"unhealthy\",\"messages\":[\"the repository has not been read "
                "yet\"]}\n",
                {{"Retry-After", "1"}}};
    if (is_summary) return {answers->health_status, kJson, answers->summary, {}};
    if (!is_metrics) return {200, kJson, answers->status, {}};
    if (request.accept.find("application/openmetrics-text") != std::string::npos)
        return {200, kOpenMetrics, answers->openmetrics, {}};
    return {200, kPrometheus, answers->metrics, {}};
}

HttpResponse Service::handle(const HttpRequest& request) {
    if (request.path == "/healthz") return {200, kText, "ok\n", {}};
    if (request.path == "/readyz") return readiness();
    // A browser always names a host; checks that speak HTTP 1.0 do not.
    const bool names_other =
        !request.host.empty() && !is_local_address(host_without_port(request.host));
    if (options_.local_only && names_other)
        return {421, kText, "this server answers to localhost only\n", {}};
    if (!is_allowed(request))
        return {401,
                kText,
                "a token is needed\n",
                {{"WWW-Authenticate", "Basic realm=\"chronos\", charset=\"UTF-8\""}}};
    return route(request);
}

}  // namespace chronos::serve
