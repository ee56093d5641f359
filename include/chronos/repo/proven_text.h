#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "chronos/repo/repository.h"

/// How a text comes into a repository: only if it can be read back.
namespace chronos::repo {

/// Reads a text as its readers will, and compares what it says with what was meant: an error says
/// that it does not come back, and why.
using ReadBack = std::function<Result<>(std::string_view text)>;

/// For texts that are read by `parse`, which returns a Result or an optional of the type of
/// `meant`. Both must outlive it.
template <class Value, class Parse>
ReadBack reads_back_as(const Value& meant, Parse parse) {
    return [&meant, parse](std::string_view text) -> Result<> {
        const auto value = parse(text);
        if constexpr (requires { value.error(); })
            if (!value) return value.error();
        if (value && *value == meant) return {};
        return Error(ErrorKind::format, "it does not read back as what was meant");
    };
}

/// Stores a text that can be read back, or nothing: what is about to be stored, to the byte, is
/// decrypted and given to `read_back` before anything of it is visible. `pass` as for read_text().
/// The one way on which the project writes texts into a repository; manifests have theirs, which
/// does not have the text as a whole (manifest_store.h). What does not come back is an error of
/// kind format that names the object.
Result<> write_text(const Repository& repository, const std::string& name, std::string_view content,
                    const std::string& pass, const ReadBack& read_back);
/// The same bytes under two names, one after the other, or at the same time if `at_once` and each
/// write is a round trip.
struct TextPair {
    std::string first;
    std::string second;
    bool at_once = false;
};
Result<> write_text_pair(const Repository& repository, const TextPair& names,
                         std::string_view content, const std::string& pass,
                         const ReadBack& read_back);

/// "'<object>' was not written, because nobody could read it: <why>"
Error not_published(const Repository& repository, const std::string& name, const Error& why);

/// How many bytes a text may have that is read as a whole, and a manifest, which is not (but a line
/// of it is bounded as well). Nothing larger is written.
inline constexpr std::uint64_t kTextSizeMax = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kManifestSizeMax = std::uint64_t{1} << 36;

/// read_text_into() with a bound of its own: what has more than `size_max` bytes is refused, kind
/// format.
Result<> read_bounded_text_into(const Repository& repository, const std::string& name,
                                const std::string& pass, io::Sink& sink, std::uint64_t size_max);

}  // namespace chronos::repo
