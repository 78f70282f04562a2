/* Structures without padding, until poppack.h. */
#pragma pack(push, 1)
