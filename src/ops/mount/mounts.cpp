#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/base/process_id.h"
#include "chronos/base/text.h"
#include "chronos/fuse/session.h"
#include "chronos/ops/mount/instant.h"
#include "chronos/ops/mount/mount.h"
#include "chronos/os/file.h"
#include "chronos/os/process.h"
#include "ops/mount/mount_info.h"
#include "ops/mount/tree.h"

namespace chronos::ops::mount {
namespace {

constexpr std::chrono::seconds kPatience(3);
constexpr std::chrono::seconds kEnd(15);
/// Who lists mounts has a file of each open for a moment.
constexpr std::chrono::seconds kBusyMax(2);
constexpr std::size_t kMountInfoMax = std::size_t{64} << 20;

/// The kernel writes blanks and the like as a backslash and three octal digits.
std::string unescape(std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto digit = [&](std::size_t at) { return static_cast<unsigned>(text[at] - '0'); };
        if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) < 4 && digit(i + 2) < 8 &&
            digit(i + 3) < 8) {
            plain += static_cast<char>(digit(i + 1) * 64 + digit(i + 2) * 8 + digit(i + 3));
            i += 3;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

/// "main", "20261120-075745F" and 1 of "chronos:repo1:20261120-075745F:main".
bool set_source(Mount& mount, const std::string& source) {
    const std::vector<std::string_view> parts = split(source, ':');
    constexpr std::string_view kRepo = "repo";
    if (parts.size() != 4 || !parts[1].starts_with(kRepo)) return false;
    mount.is_tablespace = parts[0] == kTablespaceName;
    if (!mount.is_tablespace && parts[0] != kMountName) return false;
    mount.repo_key = static_cast<unsigned>(parse_uint(parts[1].substr(kRepo.size())).value_or(0));
    mount.label = parts[2];
    mount.stanza = parts[3];
    return true;
}

struct Answer {
    std::mutex mutex;
    std::condition_variable given;
    std::optional<int> error;
    std::string text;
};

}  // namespace

std::string without_looking(const std::string& path) {
    namespace fs = std::filesystem;
    std::string plain = fs::path(path).lexically_normal().string();
    while (plain.size() > 1 && plain.ends_with('/')) plain.pop_back();
    std::error_code failed;
    const fs::path above = fs::canonical(fs::path(plain).parent_path(), failed);
    return failed ? plain : (above / fs::path(plain).filename()).string();
}

// In a thread of its own, which is left behind if the process of the mount does not answer: who
// reads from it waits for as long as that lives.
void look_at(Mount& mount) {
    auto answer = std::make_shared<Answer>();
    std::thread([answer, file = mount.path + "/" + std::string(Tree::kStatusName)] {
        errno = 0;
        auto text = os::read_small(file, 65536);
        const int error = text ? 0 : errno;
        const std::lock_guard lock(answer->mutex);
        if (text) answer->text = *std::move(text);
        answer->error = error;
        answer->given.notify_all();
    }).detach();
    std::unique_lock lock(answer->mutex);
    if (!answer->given.wait_for(lock, kPatience, [&] { return answer->error.has_value(); })) {
        mount.state = Mount::State::silent;
        return;
    }
    if (*answer->error == ENOTCONN || *answer->error == ECONNABORTED)
        mount.state = Mount::State::dead;
    else if (*answer->error != 0)
        mount.state = Mount::State::private_;
    for (const std::string_view line : split(answer->text, '\n')) {
        const std::size_t blank = line.find(' ');
        if (blank != std::string_view::npos)
            mount.facts[std::string(line.substr(0, blank))] = line.substr(blank + 1);
    }
}

Result<> unmount(const std::string& path) {
    const std::string doing = "unmount '" + path + "'";
    if (geteuid() == 0) {
        if (umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
        Error error = system_error(ErrorKind::kernel, doing, errno);
        if (errno != EBUSY) return error;
        return std::move(error).with_hint(
            "Something has a file or directory of it open: see fuser "
            "-vm " +
            path);
    }
    std::string said;
    const auto done = CHRONOS_TRY(
        os::run({.arguments = {"fusermount3", "-u", path}, .output = os::Output::captured_both},
                {.timeout = kEnd, .output_max_bytes = 4096},
                [&](std::string_view chunk) { said += chunk; }));
    if (done.success()) return {};
    return Error(ErrorKind::kernel, doing + ": " + std::string(trim(said)))
        .with_hint("If something has a file or directory of it open, see fuser -vm " + path +
                   "; if root has mounted it, root ends it.");
}

Result<> unmount_soon(const std::string& path) {
    for (const Deadline deadline(kBusyMax);;) {
        auto unmounted = unmount(path);
        if (unmounted || deadline.passed()) return unmounted;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
}

void wait_for_end(const Mount& mount) {
    const auto found = mount.facts.find("pid");
    const auto pid = found == mount.facts.end() ? std::nullopt : parse_uint(found->second);
    for (const Deadline deadline(kEnd); pid.value_or(0) > 0 && !deadline.passed();) {
        if (!process_start_ticks(static_cast<pid_t>(*pid))) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

void let_go(const std::string& path) {
    if (unmount(path)) return;
    if (::geteuid() == 0) {
        ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
        return;
    }
    const auto done = os::run(
        {.arguments = {"fusermount3", "-u", "-z", path}, .output = os::Output::captured_both},
        {.timeout = kEnd, .output_max_bytes = 4096}, [](std::string_view) {});
    if (!done) log_warn(done.error().text());
}

std::string_view mount_state_name(Mount::State state) {
    switch (state) {
        case Mount::State::live: return "live";
        case Mount::State::dead: return "dead";
        case Mount::State::silent: return "silent";
        default: return "private";
    }
}

std::vector<Mount> parse_mounts(std::string_view mount_info) {
    std::vector<Mount> mounts;
    for (const std::string_view line : split(mount_info, '\n')) {
        const std::vector<std::string_view> fields = split(line, ' ');
        const auto dash = std::ranges::find(fields, "-");
        if (fields.size() < 5 || fields.end() - dash < 3 || dash[1] != fuse::kFileSystemType)
            continue;
        Mount mount;
        mount.path = unescape(fields[4]);
        if (set_source(mount, unescape(dash[2]))) mounts.push_back(std::move(mount));
    }
    std::ranges::sort(mounts, {}, &Mount::path);
    return mounts;
}

Result<std::vector<Mount>> mounts_unasked() {
    // Without /proc, as in a small container, nobody serves anything here, and a restore goes on.
    return parse_mounts(
        CHRONOS_TRY(os::read_if_there("/proc/self/mountinfo", kMountInfoMax)).value_or(""));
}

Result<std::vector<Mount>> list_mounts() {
    std::vector<Mount> mounts = CHRONOS_TRY(mounts_unasked());
    for (Mount& mount : mounts) look_at(mount);
    std::erase_if(mounts, [](const Mount& mount) {
        return mount.is_tablespace && mount.state != Mount::State::dead;
    });
    return mounts;
}

Result<> finish_mount(const std::string& path) {
    const std::string real = without_looking(path);
    std::vector<Mount> mounts = CHRONOS_TRY(mounts_unasked());
    const auto found = std::ranges::find(mounts, real, &Mount::path);
    if (found == mounts.end())
        return Error(ErrorKind::path_missing, "no backup is mounted on '" + path + "'")
            .with_hint("The command \"chronos mounts\" lists those that are.");
    look_at(*found);
    CHRONOS_TRY(unmount_soon(real));
    if (found->state == Mount::State::dead)
        for (const std::string& tablespace : instant_tablespaces(real))
            CHRONOS_TRY(free_dead_mount(tablespace));
    wait_for_end(*found);
    return {};
}

}  // namespace chronos::ops::mount
