#include "cli/serve/service.h"

#include <algorithm>
#include <array>
#include <random>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "cli/metrics.h"
#include "cli/serve/dashboard.h"

namespace chronos::cli::serve {
namespace {

using std::chrono::milliseconds;

constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kJson = "application/json";
constexpr const char* kPrometheus = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kOpenMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// So many intervals without a look at the repositories are too many.
constexpr int kIntervalsMissedMax = 3;

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

std::string host_without_port(std::string_view host) {
    if (host.starts_with('[')) return std::string(host.substr(1, host.find(']') - 1));
    return std::string(host.substr(0, host.find(':')));
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

void Service::refresh() {
    auto fresh = std::make_shared<const ops::health::Snapshot>(
        look_at_configured_repositories(config_, repositories_, wal_memory_));
    const std::lock_guard lock(mutex_);
    snapshot_ = std::move(fresh);
    rendered_ = nullptr;
}

void Service::start_refreshing() {
    refresher_ = std::jthread([this](const std::stop_token& stop) {
        const milliseconds interval = config_.get_time("health-interval");
        while (!stop.stop_requested() && !cancel_.requested()) {
            try {
                refresh();
            } catch (const std::exception& exception) {
                log_warn(std::string("the repositories could not be looked at: ") +
                         exception.what());
            }
            const Deadline next(interval);
            while (!next.passed() && !stop.stop_requested() && !cancel_.requested())
                std::this_thread::sleep_for(std::min(next.remaining(), milliseconds(100)));
        }
    });
}

HealthView Service::view_at(UnixTime now) {
    HealthView view;
    view.now = now;
    view.snapshot = *snapshot_;
    view.running = look_for_running_backups(config_, repositories_);
    const std::string pgdata = config_.get_string("pg1-path");
    if (!pgdata.empty())
        if (auto note = read_health_note(pgdata, now)) {
            view.server = std::move(note->server);
            memories_ = std::move(note->memories);
        }
    view.rules = ops::health::evaluate(view.snapshot, view.server, limits_of(config_), now);
    const auto interval =
        std::chrono::duration_cast<std::chrono::seconds>(config_.get_time("health-interval"));
    const std::int64_t age = now - view.snapshot.taken_at;
    if (age > kIntervalsMissedMax * interval.count() + 60)
        for (ops::health::Rule& rule : view.rules)
            if (rule.name == "repo_unreachable") {
                rule.state = ops::health::RuleState::critical;
                rule.message =
                    "the repository has not answered for " + ops::health::format_duration(age);
            }
    ops::health::note_states(view.rules, memories_, now);
    return view;
}

std::shared_ptr<const Service::Rendered> Service::render(UnixTime now) {
    auto fresh = std::make_shared<Rendered>();
    auto view = std::make_shared<const HealthView>(view_at(now));
    fresh->summary = health_summary_json(*view);
    fresh->status = health_status_json(*view);
    const auto metrics = metrics_of(*view);
    fresh->metrics = format_metrics(metrics, MetricFormat::prometheus);
    fresh->openmetrics = format_metrics(metrics, MetricFormat::openmetrics);
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

}  // namespace chronos::cli::serve
