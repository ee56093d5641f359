#include "flows/shown.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <thread>
#include <utility>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/flows/drill.h"
#include "chronos/ops/archive/spool.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/server_parameters.h"
#include "chronos/pgdata/wal.h"

namespace chronos::flows {
namespace {

using ops::drill::RestoredBackup;
using ops::drill::Scratch;
using ops::mount::ScratchMount;
using ops::restore::RestorePlan;
using ops::restore::RestoreRequest;

/// The WAL that recovery begins with, put into its spool while the server is started: to ask for
/// the first of it the server would wait for a connection and for some answers, one after the
/// other. What does not come the server fetches.
class FirstWal {
public:
    FirstWal(const RestoreRequest& request, const RestorePlan& plan) {
        // Where histories are asked for first, what is in the spool does not count.
        if (!request.repositories.at(plan.repository_index).storage->features().remote ||
            plan.wal.count == 0 || plan.backup_timeline != 1 || plan.target_timeline != 1)
            return;
        thread_ = std::thread([this, &request, &plan] {
            try {
                fetch(request, plan);
            } catch (const std::exception&) {
                // Memory ran out. Recovery gets on without us.
            }
        });
    }
    ~FirstWal() {
        ending_ = true;
        if (thread_.joinable()) thread_.join();
    }
    FirstWal(const FirstWal&) = delete;
    FirstWal& operator=(const FirstWal&) = delete;

private:
    /// As much as archive-get has waiting.
    static constexpr std::uint64_t kWaitingMax = std::uint64_t{128} << 20;

    void fetch(const RestoreRequest& request, const RestorePlan& plan) const {
        const auto control = pgdata::read_control_file(request.pg_path);
        if (!control) return;
        const auto spool = ops::archive::Spool::of(
            {request.spool_path, request.stanza, request.pg_path}, *control, kWaitingMax);
        if (!spool || !spool->enabled()) return;
        const auto lock = spool->lock();
        if (!lock || !*lock) return;
        const std::uint32_t size = control->wal_segment_size;
        const std::string before = pgdata::wal_segment_name_before(
            plan.backup_timeline, pgdata::wal_segment_start(plan.manifest.archive_start, size),
            size);
        ops::archive::fetch_ahead({.repositories = request.repositories,
                                   .stanza = request.stanza,
                                   .pg_path = request.pg_path,
                                   .ahead = true},
                                  *spool, before, request.process_max,
                                  [&] { return !ending_ && !spool->must_clear(); });
        if (spool->must_clear()) spool->clean("");
    }

    std::atomic<bool> ending_{false};
    std::thread thread_;
};

/// In the order in which it is made. What was fetched is told when it goes.
struct Shown {
    ScratchMount::Figures& figures;
    RestoreRequest request = {};
    RestorePlan plan = {};
    std::unique_ptr<ScratchMount> mount = nullptr;
    std::unique_ptr<FirstWal> first_wal = nullptr;
    bool may_not_mount = false;

    explicit Shown(ScratchMount::Figures& figures_) : figures(figures_) {}
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;
    ~Shown() {
        first_wal = nullptr;
        if (mount != nullptr) figures = mount->figures();
    }
};

Result<> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) == 0) return {};
    return system_error(ErrorKind::path_create, "unable to create path '" + path + "'", errno);
}

RestoreRequest restore_shown(RestoreRequest request, const ShowRequest& shown,
                             const Scratch& scratch, const std::string& data) {
    request = restore_into(std::move(request), scratch, shown.marker);
    request.pg_path = data;
    if (shown.at_target == AtTarget::stand_still)
        request.target_action = ops::restore::TargetAction::pause;
    return request;
}

void require_settings(const RestorePlan& plan, RestoredBackup& backup) {
    const std::string& version = plan.manifest.pg_version;
    const auto major = parse_uint(version.substr(0, version.find('.'))).value_or(0);
    const auto settings = pgdata::ServerParameters::settings(static_cast<unsigned>(major));
    for (std::size_t i = 0; i < settings.size(); ++i)
        backup.required_settings[std::string(settings[i].name)] =
            std::max(settings[i].standard, plan.required_parameters.values[i]);
}

bool is_of_machine(ErrorKind kind) {
    return kind == ErrorKind::feature_not_supported || kind == ErrorKind::access ||
           kind == ErrorKind::kernel;
}

Result<> make_shown(const ShowRequest& wanted, const Scratch& scratch, RestoredBackup& backup,
                    const Cancellation& cancel, Shown& shown) {
    backup.fetched_bytes = 0;
    for (const std::string& path : {scratch.mount(), scratch.written()})
        CHRONOS_TRY(make_directory(path));
    const std::string data = ScratchMount::data_of(scratch.mount());
    if (::symlink(data.c_str(), scratch.data().c_str()) != 0)
        return system_error(ErrorKind::path_create, "make link '" + scratch.data() + "'", errno);
    const RestoreRequest& request = shown.request =
        restore_shown(CHRONOS_TRY(wanted.restore(data, scratch.spool())), wanted, scratch, data);
    RestorePlan& plan = shown.plan;
    plan = CHRONOS_TRY(ops::restore::plan_restore(request));
    // Estimates of the room that a copy needs.
    std::erase_if(plan.problems, [](const auto& problem) { return !problem.certain; });
    describe(plan, request, backup);
    backup.size_bytes = plan.size_bytes;
    backup.file_count = plan.file_count;
    ops::mount::ScratchMountRequest mount = wanted.mount;
    mount.repository = request.repositories.at(plan.repository_index);
    mount.stanza = request.stanza;
    mount.path = scratch.mount();
    mount.scratch_path = scratch.written();
    auto made = ScratchMount::make(mount, plan.manifest);
    shown.may_not_mount = !made && is_of_machine(made.error().kind());
    shown.mount = CHRONOS_TRY(std::move(made));
    CHRONOS_TRY(ops::restore::prepare_recovery(request, plan, cancel));
    shown.first_wal = std::make_unique<FirstWal>(request, plan);
    require_settings(plan, backup);
    return {};
}

}  // namespace

void describe(const RestorePlan& plan, const RestoreRequest& request, RestoredBackup& backup) {
    backup.repo_key = plan.repo_key;
    backup.label = plan.manifest.label;
    backup.type = ops::restore::recovery_type_name(plan.type);
    backup.target = plan.target_us ? plan.target_setting : request.target;
    if (plan.target_us) backup.target_time = *plan.target_us / 1000000;
    backup.reason = plan.reason;
    backup.backup_stop = plan.manifest.timestamp_stop;
    backup.pg_version = plan.manifest.pg_version;
    backup.wal_segments = plan.wal.count;
}

struct Showing::State {
    const ShowRequest request;
    const Cancellation& cancel;
    std::weak_ptr<Shown> now = {};
    ScratchMount::Figures figures = {};
    bool may_not_mount = false;
};

Showing::Showing(ShowRequest request, const Cancellation& cancel)
    : state_(std::make_shared<State>(State{std::move(request), cancel})) {}
Showing::~Showing() = default;

ops::drill::DrillRequest Showing::asked_of(ops::drill::DrillRequest server) const {
    server.check_data = [state = state_]() -> Result<> {
        const std::shared_ptr<Shown> shown = state->now.lock();
        return shown == nullptr ? Result<>() : shown->mount->check();
    };
    return server;
}

ops::drill::Show Showing::show() {
    return [state = state_](const Scratch& scratch,
                            RestoredBackup& backup) -> Result<std::shared_ptr<void>> {
        const auto shown = std::make_shared<Shown>(state->figures);
        const Result<> made = make_shown(state->request, scratch, backup, state->cancel, *shown);
        state->may_not_mount = shown->may_not_mount;
        if (!made) return made.error();
        state->now = shown;
        return std::shared_ptr<void>(shown);
    };
}

const ScratchMount::Figures& Showing::figures() const {
    return state_->figures;
}

bool Showing::may_not_mount() const {
    return state_->may_not_mount;
}

std::string Showing::hint() const {
    const std::string& failure = state_->figures.last_failure;
    return failure.empty() ? "" : "The last file that could not be read: " + failure;
}

}  // namespace chronos::flows
