#include "chronos/repo/side/mount_hold.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/side_files.h"
#include "chronos/storage/last_requests.h"
#include "repo/json_text.h"
#include "repo/side/process_text.h"

namespace chronos::repo {
namespace {

constexpr std::chrono::minutes kHoldRenewal(10);
/// By the wall clock, as nobody who only looks may write to learn the repository's: who is wrong by
/// more than this keeps a backup too long, or lets one go that is read, which the reader is told.
constexpr UnixTime kHoldDeadAfter_s = 3600;
/// The same of what is needed without a process, as while a machine is being repaired.
constexpr UnixTime kNeededDeadAfter_s = UnixTime{7} * 24 * 3600;
/// Who ends it may be waiting.
constexpr std::chrono::seconds kLastRequestMax(5);
constexpr std::string_view kMountMark = ".mount-";
constexpr std::size_t kMountedSizeMax = 65536;

std::string mounted_path(const std::string& stanza) {
    return "chronos/" + stanza + "/hold";
}

std::string object_of(const std::string& stanza, const std::string& label,
                      const std::string& exec_id) {
    return mounted_path(stanza) + "/" + label + std::string(kMountMark) + exec_id;
}

/// "" if the name is none of a mount.
std::string label_in(std::string_view name) {
    const std::size_t mark = name.find(kMountMark);
    if (mark == std::string_view::npos || !is_backup_label(name.substr(0, mark))) return "";
    return std::string(name.substr(0, mark));
}

struct HeldFor {
    MountedBackup mounted;
    std::string needed_while;
};

HeldFor parse_mounted(std::string label, std::string_view text) {
    HeldFor held{.mounted = {.label = std::move(label), .path = {}, .process = {}},
                 .needed_while = {}};
    MountedBackup& mounted = held.mounted;
    JsonReader reader(trim(text));
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        const std::string value = reader.string();
        if (set_process_part(mounted.process, key, value)) continue;
        if (key == "path") mounted.path = value;
        if (key == "look") mounted.for_look = value == "y";
        if (key == "needed-while") held.needed_while = value;
    }
    return held;
}

bool is_over(const HeldFor& held, UnixTime renewed) {
    const std::optional<bool> runs = still_runs(held.mounted.process);
    if (runs && *runs) return false;
    const UnixTime age = unix_now() - renewed;
    if (held.needed_while.empty()) return runs ? true : age > kHoldDeadAfter_s;
    if (!runs) return age > kNeededDeadAfter_s;
    // On this machine it can be seen, once what it lies on is mounted after a start.
    std::error_code failed;
    return !std::filesystem::exists(held.needed_while, failed) && age > kHoldDeadAfter_s;
}

/// nullopt if it has ended, or was not renewed.
Result<std::optional<MountedBackup>> look_at_mount(const Repository& repository,
                                                   const std::string& stanza,
                                                   const storage::Entry& entry) {
    const auto text = storage::read_object(
        *repository.storage, mounted_path(stanza) + "/" + entry.name, kMountedSizeMax);
    if (!text && text.error().kind() == ErrorKind::not_found)
        return std::optional<MountedBackup>();  // has just ended
    // What cannot be read keeps its backup as long as it is renewed.
    HeldFor held = parse_mounted(label_in(entry.name), text ? *text : "{}");
    if (is_over(held, entry.modified)) return std::optional<MountedBackup>();
    return std::optional(std::move(held.mounted));
}

}  // namespace

struct MountHold::State {
    Repository repository;
    std::string object;
    std::string text;
    bool stays = false;

    std::mutex mutex;
    std::condition_variable changed;
    bool ending = false;
    std::thread renewer;

    Result<> write() { return write_side_file(repository, object, text); }
    void sweep();
    void renew();
};

/// What those have left behind that were killed. Of no use to the one who holds: he does not wait.
void MountHold::State::sweep() {
    const std::string stanza = std::string(split(object, '/').at(1));
    const auto names = list_held_names(repository, stanza);
    if (!names) return;
    for (const storage::Entry& entry : names->mounted) {
        const std::string other = mounted_path(stanza) + "/" + entry.name;
        if (other == object) continue;
        const auto mounted = look_at_mount(repository, stanza, entry);
        if (mounted && !*mounted) (void)repository.storage->remove(other);
    }
}

void MountHold::State::renew() {
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, kHoldRenewal, [this] { return ending; })) {
        lock.unlock();
        if (const Result<> written = write(); !written)
            log_warn("the mounted backup may expire: its hold cannot be renewed: " +
                     written.error().message());
        lock.lock();
    }
}

MountHold::MountHold(std::unique_ptr<State> state) : state_(std::move(state)) {}

MountHold::~MountHold() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->ending = true;
    }
    state_->changed.notify_all();
    if (state_->renewer.joinable()) state_->renewer.join();
    if (state_->stays) return;
    // What stays is taken for dead, elsewhere only after an hour, unless something needs it.
    const storage::LastRequests last(kLastRequestMax);
    (void)state_->repository.storage->remove(state_->object);
}

void MountHold::release() {
    state_->stays = false;
}

Result<> MountHold::drop(const Repository& repository, const std::string& stanza,
                         const std::string& label, const std::string& exec_id) {
    return repository.storage->remove(object_of(stanza, label, exec_id));
}

Result<std::unique_ptr<MountHold>> MountHold::take(const Repository& repository,
                                                   const MountHoldRequest& request) {
    auto state = std::make_unique<State>();
    state->repository = repository;
    state->object = object_of(request.stanza, request.label, request.exec_id);
    ProcessText text;
    text.add("path", request.path);
    if (request.for_look) text.add("look", "y");
    if (!request.needed_while.empty()) text.add("needed-while", request.needed_while);
    state->stays = !request.needed_while.empty();
    state->text = text.finish(ProcessIdentity::of_this_process());
    CHRONOS_TRY(state->write());
    State& held = *state;
    std::unique_ptr<MountHold> hold(new MountHold(std::move(state)));
    held.renewer = std::thread([&held] {
        const Activity::Quiet renewing;
        try {
            held.sweep();
            held.renew();
        } catch (const std::exception& exception) {
            log_warn(std::string("the mounted backup may expire: ") + exception.what());
        }
    });
    return hold;
}

std::string how_to_end(const MountedBackup& mounted) {
    if (!mounted.for_look) return "End the mount with: chronos mount --finish=" + mounted.path;
    return "It is that of a look, which ends with process " + std::to_string(mounted.process.pid) +
           (mounted.process.host.empty() ? "." : " of host " + mounted.process.host + ".");
}

Result<HeldNames> list_held_names(const Repository& repository, const std::string& stanza) {
    HeldNames names;
    for (storage::Entry& entry : CHRONOS_TRY(repository.storage->list(mounted_path(stanza)))) {
        if (is_backup_label(entry.name))
            names.labels.push_back(std::move(entry.name));
        else if (!label_in(entry.name).empty())
            names.mounted.push_back(std::move(entry));
    }
    return names;
}

Result<std::vector<MountedBackup>> find_mounted(const Repository& repository,
                                                const std::string& stanza,
                                                const std::vector<storage::Entry>& mounted) {
    std::vector<MountedBackup> found;
    for (const storage::Entry& entry : mounted)
        if (auto one = CHRONOS_TRY(look_at_mount(repository, stanza, entry)))
            found.push_back(*std::move(one));
    return found;
}

}  // namespace chronos::repo
