#include <curl/curl.h>

#include <cstdarg>

#include "chronos/base/late_library.h"

namespace {
constinit chronos::LateLibrary curl(CHRONOS_CURL_LIBRARY);
}

CHRONOS_LATE(curl, CURLcode, curl_global_init, (long flags), (flags))
CHRONOS_LATE(curl, CURL*, curl_easy_init, (), ())
CHRONOS_LATE(curl, void, curl_easy_cleanup, (CURL * easy), (easy))
CHRONOS_LATE(curl, void, curl_easy_reset, (CURL * easy), (easy))
CHRONOS_LATE(curl, CURLcode, curl_easy_pause, (CURL * easy, int mask), (easy, mask))
CHRONOS_LATE(curl, const char*, curl_easy_strerror, (CURLcode code), (code))
CHRONOS_LATE(curl, CURLM*, curl_multi_init, (), ())
CHRONOS_LATE(curl, CURLMcode, curl_multi_cleanup, (CURLM * multi), (multi))
CHRONOS_LATE(curl, CURLMcode, curl_multi_add_handle, (CURLM * multi, CURL* easy), (multi, easy))
CHRONOS_LATE(curl, CURLMcode, curl_multi_remove_handle, (CURLM * multi, CURL* easy), (multi, easy))
CHRONOS_LATE(curl, CURLMcode, curl_multi_perform, (CURLM * multi, int* running), (multi, running))
CHRONOS_LATE(curl, CURLMcode, curl_multi_poll,
             (CURLM * multi, curl_waitfd* extra, unsigned count, int timeout_ms, int* ready),
             (multi, extra, count, timeout_ms, ready))
CHRONOS_LATE(curl, CURLMsg*, curl_multi_info_read, (CURLM * multi, int* left), (multi, left))
CHRONOS_LATE(curl, const char*, curl_multi_strerror, (CURLMcode code), (code))
CHRONOS_LATE(curl, curl_slist*, curl_slist_append, (curl_slist * list, const char* text),
             (list, text))
CHRONOS_LATE(curl, void, curl_slist_free_all, (curl_slist * list), (list))

// The type of the third argument follows from the range that the option's number lies in. The name
// stands in parentheses because the header makes a macro of it.
extern "C" CURLcode(curl_easy_setopt)(CURL* easy, CURLoption option, ...) {
    using Call = CURLcode (*)(CURL*, CURLoption, ...);
    static const Call call = curl.find<Call>("curl_easy_setopt");
    std::va_list arguments;
    // An enumeration is what libcurl declares there, and it is as wide as what it is passed as.
    static_assert(sizeof(CURLoption) == sizeof(int));
    va_start(arguments, option);  // NOLINT(clang-diagnostic-varargs)
    CURLcode code = CURLE_OK;
    // NOLINTBEGIN(bugprone-branch-clone): where long has 64 bits two of these are one type.
    if (option >= CURLOPTTYPE_OFF_T && option < CURLOPTTYPE_BLOB)
        code = call(easy, option, va_arg(arguments, curl_off_t));
    else if (option < CURLOPTTYPE_OBJECTPOINT)
        code = call(easy, option, va_arg(arguments, long));
    else
        code = call(easy, option, va_arg(arguments, void*));
    // NOLINTEND(bugprone-branch-clone)
    va_end(arguments);
    return code;
}
