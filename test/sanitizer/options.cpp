// What the sanitizers of an engine do if nobody says otherwise: what they find is written to a file
// <executable>.report.<pid>, since nobody reads what an engine says last, and the server starts
// another one. The engine of a server gets little of the server's environment: ASAN_OPTIONS of a
// test do not reach it.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <string>

namespace {

constexpr char kReport[] = ".report";

// A leak at the end of a process is for the unit tests to find. Tests end an engine by SIGSEGV, and
// say that it dies of it; and they preload libraries, which come before the sanitizer's. The exit
// status is none of the engine's.
constexpr char kOptions[] = "detect_leaks=0:handle_segv=0:verify_asan_link_order=0:exitcode=99";
constexpr char kLogPath[] = ":log_path=";
char options[4096];

}  // namespace

extern "C" {

// Called before anything else is ready: neither the heap nor a function that a sanitizer replaces
// may be used.
__attribute__((visibility("default"), no_sanitize("address", "undefined"))) const char*
__asan_default_options() {
    std::size_t size = 0;
    for (const char* at = kOptions; *at != 0; ++at) options[size++] = *at;
    const std::size_t without_path = size;
    for (const char* at = kLogPath; *at != 0; ++at) options[size++] = *at;
    const long path_size = syscall(SYS_readlink, "/proc/self/exe", options + size,
                                   sizeof(options) - size - sizeof(kReport));
    if (path_size <= 0) {
        // Where there is no /proc it goes to standard error.
        options[without_path] = 0;
        return options;
    }
    size += static_cast<std::size_t>(path_size);
    for (const char c : kReport) options[size++] = c;
    return options;
}

__attribute__((visibility("default"))) const char* __ubsan_default_options() {
    return "print_stacktrace=1:exitcode=99";
}

// UndefinedBehaviorSanitizer has no log_path here: it writes to standard error, and then ends the
// process.
__attribute__((visibility("default"))) void __ubsan_on_report() {
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
    if (size <= 0) return;
    const std::string file = std::string(path, static_cast<std::size_t>(size)) + kReport + "." +
                             std::to_string(getpid());
    const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) dup2(fd, STDERR_FILENO);
}
}
