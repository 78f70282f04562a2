/* Fields at multiples of at most 4, until poppack.h. */
#pragma pack(push, 4)
