#pragma once

#include <mutex>

namespace chronos {

/// A shared library that is loaded when the first of its functions is called, and stays.
///
/// libcurl, libpq and libxml2 bring some thirty others (Kerberos, LDAP, ICU) whose loading takes
/// longer than everything else that `chronos archive-get` does for a segment, and it needs none of
/// them. A module that ends in such a library therefore does not link it: late_<library>.cpp there
/// defines the functions that the module calls, each of which asks for the real one once. The rest
/// of the module is written as if it were linked.
///
/// May be used from several threads. A library that is missing cannot be mended by a caller: find()
/// throws std::runtime_error, as does a symbol that is not there.
class LateLibrary {
public:
    /// `file` is what the loader looks for, e.g. "libcurl.so.4"; it must outlive the object.
    constexpr explicit LateLibrary(const char* file) : file_(file) {}

    template <class Function>
    Function find(const char* name) {
        return reinterpret_cast<Function>(find_address(name));
    }

private:
    void* find_address(const char* name);

    const char* file_;
    std::mutex mutex_;
    void* handle_ = nullptr;
};

}  // namespace chronos

/// Defines one such function: its result, its name, its parameters and how they are passed on. In
/// parentheses none of these would be what it is.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define CHRONOS_LATE(library, result, name, parameters, arguments)       \
    extern "C" result name parameters {                                  \
        static const auto call = (library).find<decltype(&name)>(#name); \
        return call arguments;                                           \
    }
// NOLINTEND(bugprone-macro-parentheses)
