// What one core gets through each stage of a backup and of a restore, in bytes of content a second;
// and what a stage costs for the thousands of small files that a cluster has.
#include <benchmark/benchmark.h>
#include <zlib.h>

#include <random>
#include <stdexcept>
#include <string>

#include "chronos/compress/compress.h"
#include "chronos/crypto/cipher.h"
#include "chronos/crypto/hash.h"

namespace chronos {
namespace {

using compress::CompressType;
using compress::Form;

constexpr std::size_t kLarge = 32 << 20;
constexpr std::size_t kSmall = 8192;

/// Rows as a table has them: counters, a few words, numbers, blanks. gz -6 makes a third of it.
std::string table_rows(std::size_t size) {
    static constexpr const char* kWords[] = {"alpha", "bravo",   "charlie", "delta",
                                             "echo",  "foxtrot", "golf",    "hotel"};
    std::mt19937_64 engine(1);
    std::string rows;
    for (std::uint32_t id = 0; rows.size() < size; ++id) {
        rows.append(reinterpret_cast<const char*>(&id), sizeof(id));
        rows.append(19, '\0');
        const std::uint64_t number = engine();
        rows.append(reinterpret_cast<const char*>(&number), 5);
        for (int i = 0; i < 4; ++i) rows.append(kWords[engine() % 8]).append(" ");
        rows.append(std::to_string(engine() % 1'000'000)).append(8, ' ');
    }
    rows.resize(size);
    return rows;
}

const std::string& content(std::size_t size) {
    static const std::string large = table_rows(kLarge);
    static const std::string small = large.substr(0, kSmall);
    return size == kSmall ? small : large;
}

void must(const Result<>& result) {
    if (!result) throw std::runtime_error(result.error().text());
}

/// In the pieces that a pump makes of a file.
void feed(io::Sink& stage, std::string_view data) {
    for (; !data.empty(); data.remove_prefix(std::min(data.size(), io::kBufferSize)))
        must(stage.write(io::bytes(data.substr(0, io::kBufferSize))));
    must(stage.finish());
}

std::string compressed(CompressType type, int level, const std::string& data) {
    io::MemorySink bytes;
    feed(*compress::make_compressor(type, level, Form::normal, bytes), data);
    return bytes.content;
}

void set_bytes(benchmark::State& state, std::size_t size) {
    state.SetBytesProcessed(static_cast<std::int64_t>(size) * state.iterations());
}

void compress_file(benchmark::State& state, CompressType type, int level, std::size_t size) {
    const std::string& data = content(size);
    for (auto _ : state) {
        io::NullSink nothing;
        feed(*compress::make_compressor(type, level, Form::normal, nothing), data);
    }
    set_bytes(state, data.size());
    state.counters["ratio"] = static_cast<double>(compressed(type, level, data).size()) /
                              static_cast<double>(data.size());
}

void decompress_file(benchmark::State& state, CompressType type, int level, std::size_t size) {
    const std::string& data = content(size);
    const std::string bytes = compressed(type, level, data);
    for (auto _ : state) {
        io::NullSink nothing;
        feed(*compress::make_decompressor(type, Form::normal, nothing), bytes);
    }
    set_bytes(state, data.size());
}

/// What GzDecompressor would do with zlib: the reason why it uses ISA-L.
void decompress_with_zlib(benchmark::State& state) {
    const std::string& data = content(kLarge);
    std::string bytes = compressed(CompressType::gz, 6, data);
    std::string output(128 * 1024, '\0');
    for (auto _ : state) {
        z_stream stream{};
        inflateInit2(&stream, 31);
        stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
        stream.avail_in = static_cast<uInt>(bytes.size());
        int code = Z_OK;
        while (code == Z_OK) {
            stream.next_out = reinterpret_cast<Bytef*>(output.data());
            stream.avail_out = static_cast<uInt>(output.size());
            code = inflate(&stream, Z_NO_FLUSH);
        }
        inflateEnd(&stream);
        if (code != Z_STREAM_END) throw std::runtime_error("zlib");
    }
    set_bytes(state, data.size());
}

void sha1(benchmark::State& state, std::size_t size) {
    const std::string& data = content(size);
    for (auto _ : state) benchmark::DoNotOptimize(crypto::sha1_hex(data));
    set_bytes(state, data.size());
}

void xxh3(benchmark::State& state) {
    const std::string& data = content(kSmall);
    for (auto _ : state) benchmark::DoNotOptimize(crypto::xxh3_128(io::bytes(data)));
    set_bytes(state, data.size());
}

void encrypt(benchmark::State& state, std::size_t size) {
    const std::string& data = content(size);
    for (auto _ : state) {
        io::NullSink nothing;
        feed(*crypto::make_encryptor("passphrase", crypto::CipherForm::normal, nothing), data);
    }
    set_bytes(state, data.size());
}

void decrypt(benchmark::State& state, std::size_t size) {
    io::MemorySink bytes;
    feed(*crypto::make_encryptor("passphrase", crypto::CipherForm::normal, bytes), content(size));
    for (auto _ : state) {
        io::NullSink nothing;
        feed(*crypto::make_decryptor("passphrase", crypto::CipherForm::normal, nothing),
             bytes.content);
    }
    set_bytes(state, content(size).size());
}

void register_codec(CompressType type, int level) {
    const std::string name =
        std::string(compress::compress_type_name(type)) + "/" + std::to_string(level);
    for (const std::size_t size : {kLarge, kSmall}) {
        const std::string suffix = "/" + std::string(size == kLarge ? "32MiB" : "8KiB");
        benchmark::RegisterBenchmark(("compress/" + name + suffix).c_str(), compress_file, type,
                                     level, size);
        benchmark::RegisterBenchmark(("decompress/" + name + suffix).c_str(), decompress_file, type,
                                     level, size);
    }
}

const bool registered = [] {
    register_codec(CompressType::gz, 1);
    register_codec(CompressType::gz, 6);
    register_codec(CompressType::lz4, 1);
    register_codec(CompressType::zst, 1);
    register_codec(CompressType::zst, 3);
    register_codec(CompressType::bz2, 9);
    benchmark::RegisterBenchmark("decompress/gz/6/32MiB/zlib", decompress_with_zlib);
    benchmark::RegisterBenchmark("sha1/32MiB", sha1, kLarge);
    benchmark::RegisterBenchmark("sha1/8KiB", sha1, kSmall);
    benchmark::RegisterBenchmark("xxh3_128/8KiB", xxh3);
    for (const std::size_t size : {kLarge, kSmall}) {
        const std::string suffix = size == kLarge ? "/32MiB" : "/8KiB";
        benchmark::RegisterBenchmark(("encrypt" + suffix).c_str(), encrypt, size);
        benchmark::RegisterBenchmark(("decrypt" + suffix).c_str(), decrypt, size);
    }
    return true;
}();

}  // namespace
}  // namespace chronos
