// Who is at work: lock files of either tool, and signs of life that other hosts leave in the
// repository. Whatever stands in them somebody holds them, or nobody does.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>

#include "chronos/base/log.h"
#include "chronos/os/file.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/lease.h"
#include "fuzz.h"
#include "memory_storage.h"

namespace {

using namespace chronos;
using namespace chronos::repo;

/// Made once, and left to the directory of temporary files.
const std::string& lock_path() {
    static const std::string path = [] {
        std::string name = std::filesystem::temp_directory_path() / "fuzz_locks.XXXXXX";
        require(mkdtemp(name.data()) != nullptr);
        return name;
    }();
    return path;
}

void check_lock(std::string_view text) {
    LockRequest request;
    request.lock_path = lock_path();
    request.stanza = "main";
    request.exec_id = "1-01234567";
    const os::FileDescriptor file(open((lock_path() + "/main-backup-1.lock").c_str(),
                                       O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    require(write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    require(!look_at_lock(request).held);
    require(flock(file.get(), LOCK_EX | LOCK_NB) == 0);
    const LockState state = look_at_lock(request);
    require(state.held == (state.pid > 0));
}

void check_lease(std::string_view text) {
    Repository repository;
    repository.storage = std::make_shared<test::MemoryStorage>();
    for (const auto& [name, content] :
         {std::pair(std::string("backup/main/backup.info"), std::string_view()),
          std::pair(std::string("chronos/main/run/1-01234567"), text)})
        require(static_cast<bool>(storage::write_object(*repository.storage, name, content)));
    const LeaseRequest request{"main", "backup", "2-01234567", "server", false};
    if (const auto lease = Lease::take(repository, request)) {
        require(static_cast<bool>((*lease)->prove()));
    } else {
        require(lease.error().kind() == ErrorKind::lock_acquire);
        // What another host wrote is shown on this one's terminal.
        for (const char c : lease.error().message()) require(static_cast<unsigned char>(c) >= ' ');
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto former = set_log_receiver([](LogLevel, std::string_view) {});
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check_lock(text);
    check_lease(text);
    return 0;
}
