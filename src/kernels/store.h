// Memory for results that is kept from one training step to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bitprop {

// Whether all of it will be written, so that large pages are worth asking for.
enum class Use { whole, in_part };

// 64 bytes aligned, uninitialised; throws std::bad_alloc.
void* take_room(std::size_t bytes, Use use);
void give_room(void* start, std::size_t bytes);

// Memory for so many numbers, for as long as this lives.
template <class R>
class Room {
  public:
    Room() = default;
    explicit Room(std::int64_t numbers, Use use = Use::whole)
        : bytes_(static_cast<std::size_t>(numbers) * sizeof(R)), start_(take_room(bytes_, use)) {}
    Room(Room&& other) noexcept : bytes_(other.bytes_), start_(std::exchange(other.start_, nullptr)) {}
    Room& operator=(Room&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        std::swap(start_, other.start_);
        return *this;
    }
    ~Room() {
        if (start_ != nullptr) give_room(start_, bytes_);
    }
    R* start() const { return static_cast<R*>(start_); }

  private:
    std::size_t bytes_ = 0;
    void* start_ = nullptr;
};

// Asks for large pages where a result is about to be written for the first time: with small ones, entering them in the
// page table takes longer than computing what they hold.  A hint; nothing depends on it.
template <class R>
void expect_pages(R* start, std::int64_t numbers) {
#if defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t large = std::uintptr_t{2} << 20;
    const auto first = (reinterpret_cast<std::uintptr_t>(start) + large - 1) / large * large;
    const auto last = reinterpret_cast<std::uintptr_t>(start + numbers) / large * large;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
    (void)start, (void)numbers;
#endif
}

}  // namespace bitprop
